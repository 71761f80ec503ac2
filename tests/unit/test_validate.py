"""The stage as a whole: bad input, content checks, profile, manifest."""

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from mlops_actions import clock, config, evidence, probe, validate
from mlops_actions.cli import main
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.project import Environment
from mlops_actions.score import GOLDEN

START = datetime.datetime(2013, 1, 1)  # noqa: DTZ001 - the data has no time zone.

CONFIG = """\
name: late
task: classification
target: late
labels: [false, true]
id: id
group: day
weight: weight
time: time
sensitive: [secret]
data:
  schema: schema.yaml
  training: {training}
  evaluation: {evaluation}
  checks: {{ {checks} }}
gate:
  metrics: {{roc_auc: {{threshold: 0.5}}}}
  slices: [{{columns: [origin]}}]
"""
SCHEMA = """\
schema_type: polars_dataframe
strict: true
columns:
  id: {dtype: Int64}
  late: {dtype: Boolean}
  day: {dtype: Date}
  weight: {dtype: Float64}
  time: {dtype: 'Datetime'}
  origin: {dtype: String, isin: [JFK, LGA]}
  distance: {dtype: Int64, gt: 0}
  secret: {dtype: String, nullable: true}
"""


def rows(count=40, first=0):
    return pl.DataFrame(
        {
            "id": range(first, first + count),
            "late": [number % 3 == 0 for number in range(count)],
            "day": [
                START.date() + datetime.timedelta(days=number // 10)
                for number in range(first, first + count)
            ],
            "weight": [1.0] * count,
            "time": [START + datetime.timedelta(hours=n) for n in range(first, first + count)],
            "origin": ["JFK" if number % 2 else "LGA" for number in range(count)],
            "distance": range(first + 1, first + count + 1),
            "secret": ["Secretus"] * count,
        }
    )


@pytest.fixture
def make(tmp_path):
    """Make a project whose data is as given; validate it and give the failing checks by name."""

    class Made:
        folder = tmp_path
        output = tmp_path / "out"

        def project(self, train=None, evaluated=None, *, checks="", schema=SCHEMA, **paths):
            (tmp_path / "data").mkdir(exist_ok=True)
            for frame, name in ((train, "train"), (evaluated, "eval")):
                kept = frame if frame is not None else rows(first=0 if name == "train" else 100)
                kept.write_parquet(tmp_path / "data" / f"{name}.parquet")
            (tmp_path / "schema.yaml").write_text(schema)
            paths = {"training": "data/train.parquet", "evaluation": "data/eval.parquet"} | paths
            (tmp_path / "mlops.yaml").write_text(CONFIG.format(checks=checks, **paths))
            return config.load(tmp_path / "mlops.yaml")

        def validate(self, *args, baseline=None, sets=("development",), run=None, **options):
            project = self.project(*args, **options)
            return self.again(project, baseline=baseline, sets=sets, run=run)

        def again(self, project, *, baseline=None, sets=("development",), run=None):
            self.result = validate.validate_project(
                project, self.output, baseline_profile=baseline, sets=sets, run_in_project=run
            )
            failing = [item for item in self.result.checks if item["status"] == "fail"]
            assert self.result.verdict == ("failed" if failing else "passed")
            assert evidence.read(self.output / "validate.json", "validate")["checks"]
            return {item["name"]: item for item in failing}

        def read(self, name):
            return json.loads((self.output / name).read_text())

    return Made()


def test_good_data_passes_and_is_described(make):
    assert make.validate() == {}
    data = make.read("data.json")
    assert data["training"]["rows"] == 40
    assert data["training"]["cutoff"] == "2013-01-02T15:00:00"
    assert data["shared_evaluation"] is True
    development = data["evaluation"]["development"]
    assert development["overlap"] == {"keys": 0, "content": 0, "ordinary": 0.0}
    assert development["before_cutoff"] == 0
    keys = pl.read_parquet(make.output / development["keys"]["file"])
    assert keys.columns == ["id", "late", "day", "weight", "time", "origin"]
    assert keys["id"].to_list() == list(range(100, 140))
    statement = make.read("validate.json")
    named = {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}
    assert named["data.json"] == evidence.sha256_file(make.output / "data.json")
    assert named["profile.json"] == evidence.sha256_file(make.output / "profile.json")
    inputs = {item["name"] for item in statement["predicate"]["inputs"]}
    assert {"mlops.yaml", "schema.yaml", "data/train.parquet", "data/eval.parquet"} == inputs
    assert not list(make.output.rglob(".*"))  # Nothing half-written stays.


# Bad input: files.


def test_a_missing_file_is_an_error_at_its_line(make):
    with pytest.raises(ConfigurationError, match=r"data/none\.parquet does not exist") as raised:
        make.validate(training="data/none.parquet")
    assert (raised.value.line, raised.value.code) == (12, 2)


def test_a_glob_and_a_folder_without_files(make):
    for glob in ("'data/*.csv'", "'data/**.csv'"):
        with pytest.raises(ConfigurationError, match="does not exist"):
            make.validate(training=glob)
    (make.folder / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=r"holds no \.parquet or \.csv") as raised:
        make.validate(evaluation="empty")
    assert raised.value.line == 13


def test_a_path_outside_is_refused(make):
    with pytest.raises(ConfigurationError, match="inside the folder"):
        make.validate(training="../x.parquet")
    outside = make.folder.parent / f"{make.folder.name}-outside.parquet"
    rows().write_parquet(outside)
    project = make.project(evaluation="data/link.parquet")
    (make.folder / "data" / "link.parquet").symlink_to(outside)
    with pytest.raises(ConfigurationError, match="outside the project"):
        make.again(project)
    project = make.project(evaluation="'data/l*.parquet'")
    with pytest.raises(ConfigurationError, match="outside the project") as raised:
        make.again(project)
    assert raised.value.line == 13


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no byte"), (b"PAR1 not parquet at all PAR1", "cannot be read")],
)
def test_an_empty_and_a_corrupt_file_fail_with_the_file(make, content, message):
    project = make.project()
    (make.folder / "data" / "train.parquet").write_bytes(content)
    failing = make.again(project)
    assert failing["readable"]["file"] == "data/train.parquet"
    assert message in failing["readable"]["message"]
    assert failing["readable"]["set"] == "training"
    assert not (make.output / "data.json").exists()
    # The other file is checked all the same.
    assert any(item["set"] == "development" for item in make.result.checks)


def test_a_file_that_is_corrupt_inside(make):
    project = make.project(rows(5000))
    path = make.folder / "data" / "train.parquet"
    content = bytearray(path.read_bytes())
    content[4:3000] = bytes(2996)
    path.write_bytes(content)
    assert make.again(project)["readable"]["file"] == "data/train.parquet"


def test_no_rows(make):
    failing = make.validate(rows(0))
    assert failing["min_rows"]["observed"] == 0
    assert "target:late:classes" in failing


def test_too_few_rows(make):
    assert make.validate(checks="min_rows: 41")["min_rows"]["required"] == 41


def test_files_with_other_columns_do_not_mix(make):
    project = make.project(training="data/parts")
    parts = make.folder / "data" / "parts"
    parts.mkdir()
    rows(20).write_parquet(parts / "a.parquet")
    rows(20, 20).write_parquet(parts / "b.parquet")
    assert make.again(project) == {}
    assert [item["path"] for item in make.read("data.json")["training"]["files"]] == [
        "data/parts/a.parquet",
        "data/parts/b.parquet",
    ]
    rows(20, 20).drop("day").with_columns(distance=pl.lit(1.5)).write_parquet(parts / "b.parquet")
    message = make.again(project)["readable"]["message"]
    assert "lacks day" in message
    assert message.endswith("it lacks day; distance is Float64, not Int64.")


def test_parquet_and_csv_do_not_mix(make):
    project = make.project(training="data/parts")
    (make.folder / "data" / "parts").mkdir()
    rows().write_parquet(make.folder / "data" / "parts" / "a.parquet")
    rows().write_csv(make.folder / "data" / "parts" / "a.csv")
    with pytest.raises(ConfigurationError, match=r"of one kind, .* found \.csv, \.parquet"):
        make.again(project)


# CSV.


def test_csv_is_read_with_the_types_of_the_schema(make):
    project = make.project(training="data/train.csv")
    codes = rows().with_columns(origin=pl.lit("007"))
    codes.write_csv(make.folder / "data" / "train.csv")
    failing = make.again(project)
    assert set(failing) == {"schema:origin:isin"}
    assert failing["schema:origin:isin"]["examples"][0]["value"] == "007"


def test_a_word_among_the_numbers_of_a_csv(make):
    project = make.project(training="data/train.csv")
    frame = rows().with_columns(pl.col("distance").cast(pl.String))
    frame[30, "distance"] = "far"
    frame.write_csv(make.folder / "data" / "train.csv")
    failing = make.again(project)
    assert set(failing) == {"schema:distance:dtype"}
    assert failing["schema:distance:dtype"]["rows"] == 1
    assert failing["schema:distance:dtype"]["examples"][0]["row"] == 31


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        (b"id,late\n1,2\n1,2,3\n", "cannot be read", 3),
        (b'id,late\n1,"a\nb"\n1,"2\n3,4\n', "cannot be read", 4),
        (b"\xff\xfe\x00", "not CSV in UTF-8", None),
        (b"a,a\n1,2\n", "names a more than once", None),
        (b"id;late\n1;2\n", "one column, which contains ';': separate the columns by commas", 1),
        (b"7,false\n8,true\n", "none of the columns of mlops.yaml (id, late, day,", 1),
        (b"\n\n", "none of the columns of mlops.yaml", 1),
    ],
)
def test_a_corrupt_csv(make, capsys, content, message, line):
    project = make.project(training="data/train.csv")
    (make.folder / "data" / "train.csv").write_bytes(content)
    failing = make.again(project)
    assert set(failing) == {"readable"}
    assert message in failing["readable"]["message"]
    assert failing["readable"].get("line") == line
    where = f"train.csv:{line}: training: readable" if line else "train.csv: training: readable"
    assert where in capsys.readouterr().err


# Bad input: columns and content.


def test_columns_gone_added_and_of_another_type(make):
    failing = make.validate(
        rows().drop("distance", "origin").with_columns(new=1, weight=pl.lit("heavy"))
    )
    assert {
        "schema:distance:present",
        "schema:origin:present",
        "column:origin",  # A slice needs it.
        "schema:new:in_schema",
        "schema:weight:dtype",
        "weight:weight",
    } == set(failing)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("columns: [origin]", "columns: [orign]", "17: column:orign: The column orign"),
        ("target: late", "target: lat", "3: column:lat: The column lat"),
        ("weight: weight", "weight: wieght", "7: column:wieght: The column wieght"),
        (
            "checks: {  }",
            "checks: {max_null_fraction: {distnce: 0.5}}",
            "14: null_fraction:distnce: The column distnce",
        ),
    ],
)
def test_a_column_that_is_not_there_is_said_once_at_its_line(make, capsys, old, new, place):
    project = make.project(evaluation="{development: data/eval.parquet, release: data/new.parquet}")
    rows(first=200).write_parquet(make.folder / "data" / "new.parquet")
    text = project.file.read_text()
    assert old in text
    project.file.write_text(text.replace(old, new))
    make.again(config.load(project.file), sets=("development", "release"))
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    place, _, message = place.partition(": ")
    sets = "development/release/training"
    assert said.startswith(f"error: {project.file}:{place}: {sets}: {message}")
    assert "which mlops.yaml names, is missing. Did you mean" in said


def test_the_column_of_freshness_is_said_at_its_line(make):
    failing = make.validate(checks="freshness: {column: tim, max_age: 7d}")
    assert failing["freshness:tim"]["line"] == 14
    assert "Did you mean time?" in failing["freshness:tim"]["message"]


def test_a_failure_without_rows_names_the_file(make):
    failing = make.validate(rows().drop("distance"))
    assert failing["schema:distance:present"]["file"] == "data/train.parquet"


def test_repeated_ids_are_found_across_files(make):
    project = make.project(training="'data/part*.parquet'")
    rows(20).write_parquet(make.folder / "data" / "part1.parquet")
    rows(20, 18).write_parquet(make.folder / "data" / "part2.parquet")
    failing = make.again(project)
    assert failing["unique_id"]["rows"] == 4
    places = [(item["file"], item["row"], item["id"]) for item in failing["unique_id"]["examples"]]
    assert places == [
        ("data/part1.parquet", 19, 18),
        ("data/part1.parquet", 20, 19),
        ("data/part2.parquet", 1, 18),
        ("data/part2.parquet", 2, 19),
    ]


def test_repeated_values_of_a_unique_column_are_said(make, capsys):
    schema = SCHEMA.replace("id: {dtype: Int64}", "id: {dtype: Int64, unique: true}")
    assert "schema:id:unique" in make.validate(pl.concat([rows(20), rows(20)]), schema=schema)
    said = "schema:id:unique: 40 rows share their id with another row. For example: id 0, row 1"
    assert said in capsys.readouterr().err


def test_ids_may_repeat_when_told_so(make):
    assert (
        make.validate(rows().with_columns(id=pl.lit(1, pl.Int64)), checks="unique_id: false") == {}
    )


def test_nulls_in_keys_and_target(make):
    frame = rows()
    frame = frame.with_columns(
        id=pl.when(pl.col("id") > 2).then("id"), late=pl.when(pl.col("id") > 0).then("late")
    )
    failing = make.validate(
        frame, schema="schema_type: polars_dataframe\ncolumns: {id: {nullable: true}}\n"
    )
    assert set(failing) == {"nulls:id", "nulls:late"}
    assert failing["nulls:id"]["message"] == "The column id is null in 3 rows."


def test_a_target_with_one_class(make):
    failing = make.validate(rows().with_columns(late=pl.lit(value=True)))
    assert set(failing) == {"target:late:classes"}
    assert "only one class (True)" in failing["target:late:classes"]["message"]


def test_a_target_outside_the_labels(make):
    labels = pl.Series(["false", "true", "maybe", "true"] * 10)
    schema = SCHEMA.replace("late: {dtype: Boolean}", "late: {dtype: String}")
    project = make.project(rows().with_columns(late=labels), schema=schema)
    text = (make.folder / "mlops.yaml").read_text()
    (make.folder / "mlops.yaml").write_text(text.replace("[false, true]", "['false', 'true']"))
    project = config.load(project.file)
    rows(first=100).with_columns(late=labels).write_parquet(make.folder / "data" / "eval.parquet")
    failing = make.again(project)
    assert failing["target:late:labels"]["message"].startswith("The target late is not one of [")
    assert failing["target:late:labels"]["rows"] == 10
    assert failing["target:late:labels"]["examples"][0]["value"] == "maybe"


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0, None])
def test_weights_are_finite_and_not_negative(make, weight):
    frame = rows()
    frame[5, "weight"] = weight
    failing = make.validate(frame)["weight:weight"]
    assert failing["message"] == "The weight weight is not finite and not negative in 1 row."


def test_null_fraction(make):
    frame = rows()
    frame[0, "secret"] = None
    assert make.validate(frame, checks="max_null_fraction: {secret: 0.025}") == {}
    frame[1, "secret"] = None
    failing = make.validate(frame, checks="max_null_fraction: {secret: 0.025, other: 1}")
    assert set(failing) == {"null_fraction:secret", "null_fraction:other"}
    assert failing["null_fraction:secret"]["observed"] == 0.05


def test_freshness(make):
    failing = make.validate(checks="freshness: {max_age: 7d}")
    assert "2013-01-02T15:00:00" in failing["freshness:time"]["message"]
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    assert (
        make.validate(rows().with_columns(time=pl.lit(now)), checks="freshness: {max_age: 7d}")
        == {}
    )


def test_time_that_is_no_time(make):
    schema = "schema_type: polars_dataframe\ncolumns: {id: {}}\n"
    failing = make.validate(rows().with_columns(time=pl.lit("yesterday")), schema=schema)
    assert failing["time:time"]["rows"] == 40
    failing = make.validate(rows().with_columns(time=pl.lit(5)), schema=schema)
    assert "Int32" in failing["time:time"]["message"]


# Sensitive columns.


def test_sensitive_values_reach_no_output(make, capsys):
    schema = SCHEMA.replace("secret: {dtype: String", "secret: {dtype: String, isin: [x]")
    frame = rows().with_columns(secret=pl.lit("Secretus"))
    failing = make.validate(frame, frame.with_columns(pl.col("id") + 100), schema=schema)
    assert failing["schema:secret:isin"]["rows"] == 40
    printed = capsys.readouterr()
    assert "schema:secret:isin" in printed.err
    assert "Secretus" not in printed.err + printed.out
    for file in make.output.rglob("*.json"):
        assert "Secretus" not in file.read_text(), file.name
    keys = pl.read_parquet(make.output / "evaluation" / "development.parquet")
    assert "secret" not in keys.columns


def test_a_sensitive_column_that_is_misspelt_is_not_passed_over(make):
    project = make.project()
    text = project.file.read_text()
    project.file.write_text(text.replace("sensitive: [secret]", "sensitive: [secrte]"))
    failing = make.again(config.load(project.file))
    assert "Did you mean secret?" in failing["sensitive:secrte"]["message"]
    assert failing["sensitive:secrte"]["line"] == 9


# Overlap and windows.


def test_overlap_by_key_and_by_content(make, capsys):
    training = rows()
    renamed = training[10:12].with_columns(pl.col("id") + 2000)  # Known content, new ids.
    changed = training[20:24].with_columns(
        distance=pl.lit(9999, pl.Int64)
    )  # Known ids, new content.
    make.validate(training, pl.concat([training[:3], renamed, changed, rows(5, 500)]))
    overlap = make.read("data.json")["evaluation"]["development"]["overlap"]
    assert overlap == {"keys": 3 + 4, "content": 3 + 2, "ordinary": 0.0}
    assert "7 ids of the evaluation set development are also in" in capsys.readouterr().err


def test_overlap_does_not_depend_on_integer_width(make):
    make.validate(
        rows(), rows(3).with_columns(pl.col("id", "distance").cast(pl.Int32)),
        schema="schema_type: polars_dataframe\ncolumns: {id: {}}\n",
    )  # fmt: skip
    overlap = make.read("data.json")["evaluation"]["development"]["overlap"]
    assert overlap == {"keys": 3, "content": 3, "ordinary": 0.0}


def test_honest_repeats_are_measured_between_time_blocks_of_the_training_data(make, capsys):
    training = rows(100)
    # Half of the rows of every fifth of the time say the same: whenever, and in whichever group.
    half = pl.when(pl.col("id") % 2 == 0)
    training = training.with_columns(
        distance=half.then(7).otherwise("distance"),
        late=half.then(statement=True).otherwise("late"),
        origin=half.then(pl.lit("JFK")).otherwise("origin"),
    )
    repeated = training[:6].with_columns(
        pl.col("id") + 2000, pl.col("time") + datetime.timedelta(days=50)
    )
    make.validate(training, repeated)
    overlap = make.read("data.json")["evaluation"]["development"]["overlap"]
    assert overlap == {"keys": 0, "content": 6, "ordinary": 0.5}
    assert "warning" not in capsys.readouterr().err
    # All rows of one moment: there are no two blocks to compare.
    make.validate(training.with_columns(time=pl.lit(START)), repeated)
    overlap = make.read("data.json")["evaluation"]["development"]["overlap"]
    assert "ordinary" not in overlap


def test_rows_before_the_cutoff_are_counted(make):
    project = make.project(evaluation="data/eval.parquet")
    rows(40, 35).write_parquet(make.folder / "data" / "eval.parquet")
    make.again(project, sets=("release",))
    assert make.read("data.json")["evaluation"]["release"]["before_cutoff"] == 5
    text = (make.folder / "mlops.yaml").read_text()
    (make.folder / "mlops.yaml").write_text(text.replace("  checks:", "  gap: 5h\n  checks:"))
    make.again(config.load(project.file), sets=("release",))
    assert make.read("data.json")["evaluation"]["release"]["before_cutoff"] == 10


def test_one_file_for_training_and_evaluation(make):
    assert make.validate(evaluation="data/train.parquet") == {}
    overlap = make.read("data.json")["evaluation"]["development"]["overlap"]
    assert overlap == {"keys": 40, "content": 40}


# Profile.


def test_profile_counts_are_exact_at_the_edges(make):
    make.validate(rows(3000), rows(50, 5000))
    column = make.read("profile.json")["columns"]["distance"]
    values = range(1, 3001)
    assert len(column["quantiles"]) == 11
    for item in column["quantiles"]:
        assert item["at_or_below"] == sum(value <= item["value"] for value in values)
    histogram = column["histogram"]
    assert sum(histogram["counts"]) + histogram["above"] == 3000
    assert column["variation"]["windows"] == 12
    assert column["variation"]["maximum"] > 0.9  # It grows with time: windows have nothing alike.
    origin = make.read("profile.json")["columns"]["origin"]
    assert origin["categories"] == [
        {"value": "JFK", "count": 1500},
        {"value": "LGA", "count": 1500},
    ]
    assert origin["variation"]["maximum"] < 0.1
    assert make.read("profile.json")["columns"]["secret"].keys() == {
        "kind", "type", "rows", "nulls",
    }  # fmt: skip


def baseline_of(make, frame):
    make.validate(frame, rows(50, 5000))
    kept = make.folder / "baseline.json"
    (make.output / "profile.json").rename(kept)
    return kept


def test_a_shift_is_measured_against_the_baseline(make):
    flat = rows(2000).with_columns(distance=pl.int_range(pl.len()) % 100 + 1)
    baseline = baseline_of(make, flat)
    assert make.validate(flat, baseline=baseline, checks="max_profile_distance: 0.05") == {}
    shifted = flat.with_columns(pl.col("distance") + 30)
    # Without a limit the distance is reported and decides nothing.
    assert make.validate(shifted, baseline=baseline) == {}
    found = make.read("validate.json")["predicate"]["distances"]
    assert found["distance"]["distance"] > 0.3 > found["distance"]["ordinary"]["maximum"]
    assert found["origin"]["distance"] == 0
    assert not {"id", "secret", "time", "day"} & set(found)
    failing = make.validate(shifted, baseline=baseline, checks="max_profile_distance: 0.05")
    assert set(failing) == {"profile_distance:distance"}


@pytest.mark.parametrize(("word", "fails"), [("fail", True), ("warn", False), ("ignore", False)])
def test_unseen_categories(make, capsys, word, fails):
    schema = SCHEMA.replace(", isin: [JFK, LGA]", "")
    baseline = baseline_of(make, rows())
    frame = rows()
    frame[7, "origin"] = "EWR"
    failing = make.validate(
        frame, baseline=baseline, schema=schema, checks=f"unseen_categories: {word}"
    )
    assert set(failing) == ({"unseen_categories:origin"} if fails else set())
    assert ("never had" in capsys.readouterr().err) is (word != "ignore")


# Schema as a Python object.


def run_here(folder):
    def run(words):
        environment = os.environ | {"PYTHONPATH": ""}
        subprocess.run([sys.executable, *words], cwd=folder, check=True, env=environment)

    return run


def python_schema(make, text, *args, run=None, **options):
    (make.folder / "pkg").mkdir(exist_ok=True)
    (make.folder / "pkg" / "__init__.py").write_text("")
    (make.folder / "pkg" / "checks.py").write_text(text)
    project = make.project(*args, **options)
    file = project.file
    file.write_text(file.read_text().replace("schema.yaml", "pkg.checks:Flights"))
    return make.again(config.load(file), run=run or run_here(make.folder))


@pytest.mark.slow
def test_a_python_schema(make):
    text = (
        "import pandera.polars as pa\n"
        "class Flights(pa.DataFrameModel):\n"
        "    id: int = pa.Field(unique=True)\n"
        "    distance: int = pa.Field(gt=0, lt=1000)\n"
        "    origin: str = pa.Field(isin=['JFK', 'LGA'])\n"
        "    secret: str = pa.Field(isin=['x', 'Secretus'])\n"
        "    gone: int\n"
        "    class Config:\n        strict = False\n"
    )
    frame = rows()
    frame[3, "distance"] = -4
    frame[5, "distance"] = 4000
    frame[6, "origin"] = None
    frame[7, "secret"] = "Arcanum"
    frame[8, "id"] = 9
    failing = python_schema(make, text, frame)
    assert {
        "schema:gone:present",
        "schema:distance:greater_than(0)",
        "schema:distance:less_than(1000)",
        "schema:origin:not_nullable",
        "schema:secret:isin(['x', 'Secretus'])",
        "schema:id:unique",
    } < set(failing)
    example = failing["schema:distance:less_than(1000)"]["examples"][0]
    assert example == {"file": "data/train.parquet", "row": 6, "id": 5, "value": "4000"}
    assert "Arcanum" not in (make.output / "validate.json").read_text()
    assert failing["schema"]["message"].startswith("Checks of pkg.checks:Flights that fail: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_package\n", "No module named 'no_such_package'"),
        ("Other = 1\n", "has no attribute 'Flights'"),
        ("Flights = 5\n", "is no Pandera schema but of the type int"),
        ("raise SystemExit(0)\n", "SystemExit"),
        ("import os\nos._exit(0)\n", "Python ended before it was checked"),
    ],
)
def test_a_python_schema_that_cannot_be_had(make, text, message):
    with pytest.raises(ConfigurationError, match=message) as raised:
        python_schema(make, text)
    assert (raised.value.code, raised.value.line) == (2, 11)


@pytest.mark.slow
def test_a_python_schema_of_pandas(make):
    """In an environment of its own: ours has no pandas."""
    text = (
        "import pandera.pandas as pa\n"
        "Flights = pa.DataFrameSchema({\n"
        "  'id': pa.Column(int, unique=True),\n"
        "  'distance': pa.Column(int, [pa.Check.gt(0), pa.Check.lt(1000)], coerce=True),\n"
        "  'origin': pa.Column(str, pa.Check.isin(['JFK', 'LGA'])),\n"
        "  'weight': pa.Column(float, pa.Check(lambda s: s.mean() > 9, error='mean above 9')),\n"
        "  'gone': pa.Column(int),\n}, index=pa.Index(int, pa.Check.lt(30)))\n"
    )
    frame = rows().with_columns(pl.col("distance").cast(pl.String))
    frame[3, "distance"] = "far"
    frame[5, "distance"] = "-4"
    frame[6, "origin"] = None
    frame[7, "origin"] = "EWR"

    def run(words):
        packages = [f"--with={name}" for name in ("pandas", "pyarrow", "pandera[pandas]")]
        command = ["uv", "run", "--quiet", "--no-project", "--isolated", *packages, "python"]
        subprocess.run([*command, *words], cwd=make.folder, check=True)

    failing = python_schema(make, text, frame, run=run)
    counted = {name: item.get("rows", 0) for name, item in failing.items()}
    assert counted.pop("schema") == 0
    assert counted == {
        "schema:gone:present": 0,
        "schema:distance:coerce(int64)": 1,
        "schema:distance:greater_than(0)": 1,
        "schema:origin:not_nullable": 1,
        "schema:origin:isin(['JFK', 'LGA'])": 1,
        "schema:weight:mean above 9": 0,
    }


def test_a_python_schema_needs_the_project_environment(make):
    project = make.project()
    project.file.write_text(project.file.read_text().replace("schema.yaml", "pkg.checks:Flights"))
    with pytest.raises(ConfigurationError, match="project environment") as raised:
        make.again(config.load(project.file))
    assert raised.value.line == 11


# The command.


def test_exit_codes_and_annotations(make, monkeypatch, capsys):
    project = make.project(rows().with_columns(distance=-1))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(make.folder))
    monkeypatch.chdir(make.folder)
    call = ["validate", "--config", str(project.file), "--output", str(make.output)]
    assert main(call) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "::error" in line]
    assert lines[0].startswith("::error file=data/train.parquet::training: schema:distance:")
    rows().write_parquet(make.folder / "data" / "train.parquet")
    assert main(call) == 0
    (make.folder / "data" / "train.parquet").unlink()
    assert main(call) == 2
    assert "::error file=" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("data/train.", "data/none.", "mlops.yaml:12: data/none.parquet does not exist"),
        ("schema.yaml", "other.yaml", "mlops.yaml:11: The schema other.yaml does not exist"),
        ("schema.yaml", "pkg.checks:Flights", "neither uv.lock nor requirements.txt"),
    ],
)  # fmt: skip
def test_what_is_no_bad_data_leaves_evidence_of_why(make, monkeypatch, old, new, message):
    project = make.project()
    text = project.file.read_text()
    assert old in text
    project.file.write_text(text.replace(old, new))
    monkeypatch.setenv("GITHUB_OUTPUT", str(make.folder / "outputs"))
    assert main(["validate", "--config", str(project.file), "--output", str(make.output)]) == 2
    assert make.read("validate.json")["predicate"]["verdict"] == "failed"
    (found,) = make.read("validate.json")["predicate"]["checks"]
    assert (found["name"], found["status"]) == ("configuration", "fail")
    assert message in found["message"]
    assert (
        evidence.sha256_file(make.output / "validate.json") in (make.folder / "outputs").read_text()
    )


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("roc_aucc", "The metric 'roc_aucc' does not exist. Did you mean roc_auc"),
        ("r2", "The metric 'r2' is not for a classification"),
        ("loss_cost", "A smoke run cannot judge loss_cost"),
    ],
)
def test_a_smoke_metric_that_cannot_be_judged_is_said_first(make, capsys, metric, message):
    project = make.project()
    text = f"{project.file.read_text()}smoke:\n  command: x\n  floor: 0\n  metric: {metric}\n"
    project.file.write_text(text)
    assert main(["validate", "--config", str(project.file), "--output", str(make.output)]) == 2
    line = len(text.splitlines())
    assert f"mlops.yaml:{line}: {message}" in capsys.readouterr().err
    assert not make.output.exists()


def test_a_schema_that_cannot_be_imported_leaves_evidence_of_why(make, monkeypatch):
    project = make.project()
    project.file.write_text(project.file.read_text().replace("schema.yaml", "pkg.checks:Flights"))
    here = Environment(folder=Path(sys.prefix), digest="0", python_version="3.11")
    monkeypatch.setattr(validate, "prepare", lambda _: here)
    assert main(["validate", "--config", str(project.file), "--output", str(make.output)]) == 2
    (found,) = make.read("validate.json")["predicate"]["checks"]
    assert found["status"] == "fail"
    assert "pkg.checks:Flights" in found["message"]


def test_data_that_could_not_be_had_is_inconclusive(make, monkeypatch):
    project = make.project()
    text = project.file.read_text().replace("  schema:", "  command: python -c 1\n  schema:")
    project.file.write_text(text)

    def unreachable(_):
        raise Failure("The environment cannot be made.")

    monkeypatch.setattr(validate, "prepare", unreachable)
    assert main(["validate", "--config", str(project.file), "--output", str(make.output)]) == 1
    (found,) = make.read("validate.json")["predicate"]["checks"]
    assert (found["name"], found["status"]) == ("data", "inconclusive")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (".", "would replace the project itself"),
        ("..", "would replace the project itself"),
        ("data", "would replace the project itself, its data"),
        ("data/evaluation", "would replace the project itself, its data"),
        ("notes", "holds what is no result, such as mine.txt"),
        ("schema.yaml", "is a file, not a folder"),
    ],
)
@pytest.mark.parametrize("named", ["data/evaluation/eval.parquet", "'data/*/*.parquet'"])
def test_the_output_takes_nothing_away_but_results(
    make, monkeypatch, capsys, output, message, named
):
    project = make.project(evaluation=named)
    (make.folder / "data" / "evaluation").mkdir()
    cached = make.folder / "cached.parquet"
    rows(first=100).write_parquet(cached)
    (make.folder / "data" / "evaluation" / "eval.parquet").symlink_to(cached)
    for name in ("train", "eval"):  # What is left is called like a result.
        (make.folder / "data" / f"{name}.parquet").unlink()
    (make.folder / "notes").mkdir()
    for kept in ("mine.txt", "validate.json"):
        (make.folder / "notes" / kept).touch()
    before = sorted(make.folder.rglob("*"))
    monkeypatch.chdir(make.folder)
    assert main(["validate", "--config", str(project.file), "--output", output]) == 2
    assert message in capsys.readouterr().err
    assert sorted(make.folder.rglob("*")) == before


def test_the_output_is_not_the_working_directory(make, monkeypatch, capsys):
    project = make.project()
    call = ["validate", "--config", str(project.file), "--output"]
    assert main([*call, str(make.output)]) == 0
    monkeypatch.chdir(make.output)
    assert main([*call, "."]) == 2
    assert "working directory" in capsys.readouterr().err
    assert make.read("validate.json")


def test_what_the_later_stages_put_there_is_taken_away_with_the_results(make):
    project = make.project()
    later = {"train.json", "run", "score.json", clock.DOCUMENT, GOLDEN, probe.FOLDER}
    for name in later:
        (make.output / name).mkdir(parents=True)
    (make.output / "predictions").symlink_to(make.folder / "data")
    assert main(["validate", "--config", str(project.file), "--output", str(make.output)]) == 0
    assert not later & {path.name for path in make.output.iterdir()}
    assert (make.folder / "data" / "train.parquet").exists()


def fetched(make, found):
    folder = make.folder / "baseline"
    (folder / "evidence").mkdir(parents=True)
    (folder / "baseline.json").write_text(json.dumps({"baseline": found}))
    return folder


def test_the_command_compares_with_the_baseline_that_was_fetched(make, capsys):
    kept = baseline_of(make, rows())
    project = make.project(rows(80).tail(40), checks="max_profile_distance: 0.05")
    folder = fetched(make, {"alias": "champion"})
    call = ["validate", f"--config={project.file}", f"--output={make.output}"]
    assert main([*call, f"--baseline={folder}"]) == 0
    assert "The baseline has no profile" in capsys.readouterr().err
    kept.rename(folder / "evidence" / "profile.json")
    assert main([*call, f"--baseline={folder}"]) == 1
    assert "profile_distance:distance" in capsys.readouterr().err


def test_a_first_model_has_no_baseline_and_that_is_no_warning(make, capsys):
    project = make.project()
    call = ["validate", f"--config={project.file}", f"--output={make.output}"]
    assert main([*call, f"--baseline={fetched(make, None)}"]) == 0
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["gone", "data"])
def test_a_folder_that_was_not_fetched_is_no_baseline(make, capsys, folder):
    project = make.project()
    call = ["validate", f"--config={project.file}", f"--output={make.output}"]
    assert main([*call, f"--baseline={make.folder / folder}"]) == 2
    assert f"{folder}: There is no baseline.json" in capsys.readouterr().err


def test_ten_annotations_and_a_count(make, capsys):
    bare = pl.DataFrame({"id": [1, 1]})
    schema = SCHEMA + "".join(f"  more{number}: {{}}\n" for number in range(9))
    make.validate(bare, bare, schema=schema)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 11
    assert "more checks failed" in lines[-1]


def test_results_of_an_earlier_call_do_not_stay(make):
    make.validate()
    project = make.project()
    (make.folder / "data" / "eval.parquet").write_bytes(b"")
    make.again(project)
    assert not (make.output / "data.json").exists()
    assert not (make.output / "evaluation").exists()
