import contextlib
import datetime
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlops_actions import config
from mlops_actions.errors import ConfigurationError

MINIMAL = """\
name: late-flights
task: classification
target: late
labels: [0, 1]
id: row
data:
  training: data/train.parquet
  evaluation: data/evaluation.parquet
gate:
  metrics:
    roc_auc:
      threshold: 0.7
"""


def parse(text: str) -> config.Project:
    return config.parse(text, Path("mlops.yaml"))


def refusal(text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert caught.value.code == 2
    assert caught.value.file == "mlops.yaml"
    return caught.value


def with_(old: str, new: str) -> str:
    assert MINIMAL.count(old) == 1
    return MINIMAL.replace(old, new)


@pytest.fixture(autouse=True)
def off_github(monkeypatch):
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)


def test_the_smallest_file_has_safe_defaults():
    settings = parse(MINIMAL).config
    assert settings.gate.bootstrap == "refuse"
    assert settings.gate.mode == "enabled"
    assert settings.unattested == "refuse"
    assert settings.train.dvc_push is False
    assert settings.pull_request == "full"
    assert settings.data.checks.unique_id is True


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (MINIMAL + "traning: {}\n", 13, "Unknown key traning. Did you mean train?"),
        (
            with_("threshold", "treshold"),
            12,
            "Unknown key gate.metrics.roc_auc.treshold. Did you mean threshold?",
        ),
        (MINIMAL + "xyzzy: 1\n", 13, "Unknown key xyzzy."),
        (
            MINIMAL + "  slices:\n    - columns: [a]\n      requires: true\n",
            15,
            "Unknown key gate.slices.0.requires. Did you mean require?",
        ),
        (
            with_(
                "evaluation: data/evaluation.parquet",
                "evaluation: {development: a, release: b,\n    regresion: c}",
            ),
            9,
            "Unknown key data.evaluation.regresion. Did you mean regression?",
        ),
        (with_("0.7", "high"), 12, "gate.metrics.roc_auc.threshold: Input should be a valid num"),
        (with_("0.7", ".nan"), 12, "finite"),
        (with_("0.7", "1e999"), 12, "finite"),
        (with_("0.7", "true"), 12, "valid number"),
        (with_("classification", "clustering"), 2, "'classification' or 'regression'"),
        (with_("late-flights", "'\"; touch pwned; \"'"), 1, "not fit its description: The model"),
        (with_("late-flights", '"late\\n"'), 1, "lower case, digits"),
        (MINIMAL + "name: twice\n", 13, 'found duplicate key "name"'),
        (with_("  training", "\ttraining"), 7, "Not valid YAML"),
        (MINIMAL + "---\na: 1\n", 13, "a single document in the stream, but found another"),
        (with_("id: row\n", ""), 1, "id is missing."),
        (with_("  training: data/train.parquet\n", ""), 6, "data.training is missing."),
        ("", 1, "Expected a mapping of settings; the file is empty."),
        ("- a\n", 1, "Expected a mapping"),
        (MINIMAL + "score: 'os.system(1)'\n", 13, "description: package.module:function"),
        (MINIMAL + "train:\n  timeout: soon\n", 14, "such as 7d"),
        (MINIMAL + "train:\n  timeout: 15\n", 14, "train.timeout: expected a number and one of s"),
        (MINIMAL + "train: 5\n", 13, "train: expected a mapping, not 5."),
        (MINIMAL + "train:\n", 13, "train: expected a mapping, but it is empty."),
        (MINIMAL + "weight: 5\n", 13, "weight: expected text, not 5."),
        (MINIMAL + "sensitive: row\n", 13, "sensitive: expected a list, not 'row'."),
        (MINIMAL + "train:\n  timeout: 99999999999999999999d\n", 14, "longer than time"),
        (MINIMAL + "pull-request: smoke\n", 1, "so the section smoke is needed"),
        (with_("      threshold: 0.7", "      greater_is_better: true"), 11, "ask for something"),
        (with_("metrics:\n    roc_auc:\n      threshold: 0.7", "metrics: {}"), 10, "at least 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, line, message):
    error = refusal(text)
    assert message in error.message
    assert error.line == line


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (with_("labels: [0, 1]\n", ""), 1, "a classification names all its classes"),
        (with_("classification", "regression"), 1, "belong to classification"),
        (with_("[0, 1]", "[0, 0]"), 4, "labels: each class once"),
        (with_("[0, 1]", "[0]"), 4, "at least 2"),
        (with_("[0, 1]", "[1, true]"), 4, "labels: all numbers, all words, or true and false"),
        (with_("[0, 1]", f"[0, {2**63}]"), 4, "labels: whole numbers of 64 bits"),
        (MINIMAL + "positive_label: 2\n", 13, "positive_label: not one of the labels"),
        (MINIMAL + "positive_label: true\n", 13, "positive_label: not one of the labels"),
    ],
)
def test_labels_are_the_classes_all_of_them(text, line, message):
    error = refusal(text)
    assert message in error.message
    assert error.line == line


@pytest.mark.parametrize("key", ["target", "group", "weight", "time"])
def test_a_column_has_one_part(key):
    text = MINIMAL.replace("target: late", f"target: {'row' if key == 'target' else 'late'}")
    if key != "target":
        text += f"{key}: row\n"
    assert f"{key}: the column row is the id" in refusal(text).message
    if key in {"group", "weight"}:
        assert "is the target" in refusal(f"{MINIMAL}{key}: late\n").message


def test_everything_that_is_wrong_is_listed():
    error = refusal(
        with_("id: row", "ids: row").replace("0.7", "high").replace("target: late\n", "")
    )
    assert error.line == 1
    for message in (
        "id is missing",
        "target is missing",
        "Unknown key ids",
        "line 11: gate.metrics",
    ):
        assert message in error.message


@pytest.mark.parametrize(
    "path", ["../train.csv", "/etc/passwd", "a/../../b", '"a\\nb"', '""', '"a\\u0000b"']
)
@pytest.mark.parametrize(
    "key", ["training: data/train.parquet", "evaluation: data/evaluation.parquet"]
)
def test_a_path_outside_the_project_is_refused(key, path):
    error = refusal(with_(key, f"{key.partition(':')[0]}: {path}"))
    assert error.line in {7, 8}


def test_a_link_that_leads_outside_is_refused(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "data").symlink_to(tmp_path)
    project = config.parse(MINIMAL, tmp_path / "project" / "mlops.yaml")
    with pytest.raises(ConfigurationError, match="leads outside"):
        project.path("data/train.parquet")
    assert project.path("other/train.parquet") == tmp_path / "project/other/train.parquet"


def test_merged_keys_are_read():
    merged = with_("      threshold: 0.7", "      <<: {threshold: 0.7}")
    assert parse(merged).config.gate.metrics["roc_auc"].threshold == 0.7


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 400 + "]" * 400,
        MINIMAL + "x: &x {y: *x}\n",
        MINIMAL + "? [a, b]\n: x\n",
        MINIMAL + "~: x\n",
        MINIMAL + "1: x\n",
        with_("late-flights", "!!python/object/apply:os.system [id]"),
        MINIMAL + "\x01",
        with_("late-flights", '"\\ud800"'),
        with_("late-flights", "2020-01-01"),
    ],
)
def test_hostile_yaml_is_an_error_of_the_user(text):
    refusal(text)


@given(st.text())
@example("%")
def test_no_text_at_all_gives_a_traceback(text):
    with contextlib.suppress(ConfigurationError):
        parse(text)


KEYS = [line.strip() for line in MINIMAL.splitlines()]


@given(
    st.integers(0, len(KEYS) - 1),
    st.sampled_from(
        ["", "null", "[]", "{}", "-1", "1e400", "'x'", "[a, {b: c}]", "2020-01-01", "!a b"]
    ),
)
def test_no_value_of_a_key_gives_a_traceback(index, value):
    lines = MINIMAL.splitlines()
    lines[index] = f"{lines[index].partition(':')[0]}: {value}"
    with contextlib.suppress(ConfigurationError):
        parse("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", datetime.timedelta(seconds=30)),
        ("90m", datetime.timedelta(minutes=90)),
        ("12 h", datetime.timedelta(hours=12)),
        ("7d", datetime.timedelta(days=7)),
        ("2w", datetime.timedelta(days=14)),
    ],
)
def test_durations(text, expected):
    assert config.parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "1h30m", "٣d", "7 days"])
def test_what_is_not_a_duration(text):
    with pytest.raises(ValueError, match="such as 7d"):
        config.parse_duration(text)


def test_one_file_is_every_evaluation_set():
    data = parse(MINIMAL).config.data
    assert data.shared_evaluation
    assert {data.evaluation_path(name) for name in config.EVALUATION_SETS} == {
        "data/evaluation.parquet"
    }


def test_evaluation_sets_by_name():
    named = with_("data/evaluation.parquet", "{development: a.csv, release: b.csv}")
    data = parse(named).config.data
    assert not data.shared_evaluation
    assert [data.evaluation_path(name) for name in config.EVALUATION_SETS] == [
        "a.csv",
        "b.csv",
        None,
    ]


@pytest.mark.parametrize(
    ("labels", "positive", "expected"),
    [
        ("[0, 1]", "", 1),
        ("[0, 1]", "positive_label: 0\n", 0),
        ("[no, late]", "", "late"),
        ("[a, b, c]", "", None),
    ],
)
def test_the_positive_class(labels, positive, expected):
    assert parse(with_("[0, 1]", labels) + positive).config.positive == expected


def test_key_columns_are_listed_once():
    text = MINIMAL + "  slices:\n    - columns: [origin, date]\n" + "group: date\nweight: w\n"
    assert parse(text).config.key_columns == ["row", "late", "date", "w", "origin"]


def test_errors_point_at_the_nearest_key():
    project = parse(MINIMAL)
    assert project.line("gate", "metrics", "roc_auc", "threshold") == 12
    assert project.line("gate", "metrics", "f1") == 10
    assert project.line("nothing") is None
    assert str(project.error("Why.", "id")) == "mlops.yaml:5: Why."


@pytest.mark.parametrize("load", [config.load, config.load_elsewhere])
@pytest.mark.parametrize("make", ["missing", "folder", "binary"])
def test_a_file_that_cannot_be_read(tmp_path, make, load):
    path = tmp_path / "mlops.yaml"
    if make == "folder":
        path.mkdir()
    if make == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert caught.value.file == str(path)
    assert caught.value.code == 2


def test_a_file_outside_the_repository_is_refused(tmp_path, monkeypatch):
    (tmp_path / "workspace").mkdir()
    (tmp_path / "mlops.yaml").write_text(MINIMAL)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "workspace"))
    with pytest.raises(ConfigurationError, match="outside the repository"):
        config.load(tmp_path / "workspace" / ".." / "mlops.yaml")


def test_the_schema_describes_every_key():
    schema = json.loads(config.json_schema())
    assert schema["$id"] == config.SCHEMA_URL
    assert schema["additionalProperties"] is False
    assert {"pull-request", "schema"} <= set(schema["properties"]) | set(
        schema["$defs"]["Data"]["properties"]
    )
