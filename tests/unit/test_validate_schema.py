"""A YAML schema: nothing that is wrong stays hidden, and nothing is counted wrongly."""

import contextlib
import datetime
import random
import re
from pathlib import Path

import polars as pl
import pytest

from mlops_actions.errors import ConfigurationError
from mlops_actions.validate import schema
from mlops_actions.validate.examples import Shown
from mlops_actions.validate.source import Batch, Source


def read_schema(tmp_path, text):
    file = tmp_path / "schema.yaml"
    file.write_text("schema_type: polars_dataframe\n" + text, encoding="utf-8")
    return schema.load(file)


def check(tmp_path, text, frame, *, sensitive=(), batch_rows=3, is_csv=False):
    """Check a frame in small batches; give the checks by name."""
    file = tmp_path / "data.parquet"
    frame.write_parquet(file)
    source = Source(
        path="data.parquet",
        files=(file,),
        names=("data.parquet",),
        readable=(file,),
        heights=(frame.height,),
        columns=dict(frame.schema),
        is_csv=is_csv,
    )
    rule = Shown(identifier="id", sensitive=frozenset(sensitive))
    checker = schema.Checker(read_schema(tmp_path, text), source, rule)
    for batch in source.batches(rows=batch_rows):
        checker.add(batch)
    return {item["name"]: item for item in checker.finish()}


def failing(checks):
    names = {name for name, item in checks.items() if item["status"] == "fail"}
    assert all(checks[name]["message"] for name in names)
    return names


def test_nulls_do_not_hide_the_other_checks_of_a_column(tmp_path):
    # unionai-oss/pandera#532.
    checks = check(
        tmp_path,
        "columns:\n  id: {dtype: String, unique: true, str_matches: '^ID[0-9]{3}$'}\n",
        pl.DataFrame({"id": ["ID001", None, "XXX", "ID001"]}),
    )
    assert failing(checks) == {"schema:id:nullable", "schema:id:str_matches", "schema:id:unique"}
    assert checks["schema:id:str_matches"]["message"].endswith("does not hold in 1 row.")
    assert checks["schema:id:nullable"]["message"] == "The column id is null in 1 row."
    assert checks["schema:id:unique"]["rows"] == 2  # In different batches.
    assert checks["schema:id:unique"]["message"] == "2 rows share their id with another row."
    assert [item["row"] for item in checks["schema:id:unique"]["examples"]] == [1, 4]


def test_a_missing_column_does_not_hide_the_others(tmp_path):
    # unionai-oss/pandera#1993: with add_missing_columns, Pandera reports only some of these.
    checks = check(
        tmp_path,
        "coerce: true\nstrict: true\nadd_missing_columns: true\n"
        "columns:\n  a: {dtype: Int64, ge: 2}\n  b: {dtype: String, isin: [x, y]}\n"
        "  c: {dtype: Boolean}\n  d: {dtype: Int64, gt: 0}\n",
        pl.DataFrame({"b": ["x", "y", "z"], "d": ["1", "two", "-3"], "new": [1, 2, 3]}),
    )
    assert failing(checks) == {
        "schema:a:present",
        "schema:b:isin",
        "schema:c:present",
        "schema:d:dtype",
        "schema:d:greater_than",
        "schema:new:in_schema",
    }
    assert checks["schema:d:dtype"]["examples"][0]["value"] == "two"
    assert checks["schema:a:greater_than_or_equal_to"]["status"] == "skipped"


def test_every_added_column_is_reported(tmp_path):
    # Pandera stops at the first.
    checks = check(
        tmp_path, "strict: true\ncolumns:\n  a: {}\n", pl.DataFrame({"a": [1], "b": [1], "c": [1]})
    )
    assert failing(checks) == {"schema:b:in_schema", "schema:c:in_schema"}


def test_a_wrong_type_does_not_hide_the_values(tmp_path):
    checks = check(
        tmp_path,
        "columns:\n  a: {dtype: Int64, gt: 0, lt: 100}\n  b: {dtype: Float64, ge: 0}\n",
        pl.DataFrame({"a": ["5", "-1", "1000"], "b": [1.0, -2.0, 3.0]}),
    )
    assert failing(checks) == {
        "schema:a:dtype",
        "schema:a:greater_than",
        "schema:a:less_than",
        "schema:b:greater_than_or_equal_to",
    }
    assert "String, not Int64" in checks["schema:a:dtype"]["message"]


def test_a_check_that_cannot_run_fails(tmp_path):
    checks = check(tmp_path, "columns:\n  a: {str_startswith: x}\n", pl.DataFrame({"a": [1, 2, 3]}))
    assert failing(checks) == {"schema:a:str_startswith"}
    assert "cannot be checked on the type Int64" in checks["schema:a:str_startswith"]["message"]


def test_several_checks_and_several_unique_rules_all_fail(tmp_path):
    # Pandera stops at the first of several unique rules.
    checks = check(
        tmp_path,
        "unique: [[a], [a, b]]\ncolumns:\n"
        "  a: {checks: [{value: 1, options: {check_name: ne}},"
        " {value: 2, options: {check_name: ne}}]}\n  b: {}\n",
        pl.DataFrame({"a": [1, 2, 1, 2], "b": [1, 2, 3, 2]}),
    )
    assert failing(checks) == {
        "schema:a:not_equal_to",
        "schema:a:not_equal_to#2",
        "schema:a:unique",
        "schema:a+b:unique",
    }
    assert checks["schema:a:unique"]["rows"] == 4
    assert checks["schema:a+b:unique"]["rows"] == 2


def test_a_unique_rule_names_columns_that_are_there(tmp_path):
    text = "unique: [id, daay]\ncolumns: {id: {}, gone: {required: false}}\n"
    checks = check(tmp_path, text, pl.DataFrame({"id": [1, 2], "day": [1, 1]}))
    assert failing(checks) == {"schema:daay:present"}
    assert "Did you mean day?" in checks["schema:daay:present"]["message"]
    assert not failing(check(tmp_path, text.replace("daay", "gone"), pl.DataFrame({"id": [1, 2]})))


def test_counts_are_exact_and_examples_are_ten(tmp_path):
    checks = check(
        tmp_path,
        "columns:\n  a: {dtype: Int64, lt: 0}\n",
        pl.DataFrame({"id": range(100, 1100), "a": range(1000)}),
        batch_rows=7,
    )
    found = checks["schema:a:less_than"]
    assert found["rows"] == found["observed"] == 1000
    assert len(found["examples"]) == 10
    assert found["examples"][9] == {"file": "data.parquet", "row": 10, "id": 109, "value": 9}


def test_sensitive_values_are_never_shown(tmp_path):
    checks = check(
        tmp_path,
        "strict: true\ncolumns:\n  id: {dtype: Int64, gt: 5}\n"
        "  name: {dtype: Int64, unique: true, isin: [1], coerce: true}\n"
        "  word: {dtype: String, unique_values_eq: {values: [a]}}\n",
        pl.DataFrame({"id": [1, 2], "name": ["Secretus", "Secretus"], "word": ["Arcana"] * 2}),
        sensitive=["name", "word"],
    )
    assert {"schema:name:dtype", "schema:name:unique", "schema:word:unique_values_eq"} <= failing(
        checks
    )
    assert "Secretus" not in str(checks)
    assert "Arcana" not in str(checks)
    assert checks["schema:name:dtype"]["examples"][0]["id"] == 1


def test_a_sensitive_id_is_not_shown(tmp_path):
    checks = check(
        tmp_path,
        "columns:\n  a: {gt: 5}\n",
        pl.DataFrame({"id": ["Ida"], "a": [1]}),
        sensitive=["id"],
    )
    assert checks["schema:a:greater_than"]["examples"] == [
        {"file": "data.parquet", "row": 1, "value": 1}
    ]


def test_a_column_as_a_whole_is_judged_over_all_batches(tmp_path):
    text = "columns:\n  a: {unique_values_eq: {values: [1, 2]}}\n"
    passed = check(tmp_path, text, pl.DataFrame({"a": [1, 1, 1, 2, 2, 2]}))
    assert failing(passed) == set()
    failed = check(tmp_path, text, pl.DataFrame({"a": [1, 1, 1, 1]}))
    assert failing(failed) == {"schema:a:unique_values_eq"}


def test_regex_columns_and_checks_of_rows(tmp_path):
    checks = check(
        tmp_path,
        "columns:\n  'm_.*': {regex: true, dtype: Int64, ge: 0}\n  z: {required: false}\n"
        "checks: {lt: 10}\n",
        pl.DataFrame({"m_1": [1, -1], "m_2": [20, 2]}),
    )
    assert failing(checks) == {"schema:m_1:greater_than_or_equal_to", "schema:*:less_than"}
    assert checks["schema:*:less_than"]["rows"] == 1


def test_dates_in_checks(tmp_path):
    checks = check(
        tmp_path,
        "columns:\n  d: {dtype: Date, ge: '2013-01-02'}\n"
        "  t: {dtype: 'Datetime', lt: '2013-01-02T00:00:00'}\n",
        pl.DataFrame(
            {
                "d": [datetime.date(2013, 1, 1), datetime.date(2013, 1, 2)],
                "t": [datetime.datetime(2013, 1, 1), datetime.datetime(2013, 1, 2)],  # noqa: DTZ001
            }
        ),
    )
    assert checks["schema:d:greater_than_or_equal_to"]["rows"] == 1
    assert checks["schema:t:less_than"]["rows"] == 1


def test_coercion_accepts_only_what_loses_nothing(tmp_path):
    text = "coerce: true\ncolumns:\n  a: {dtype: Int64}\n"
    assert failing(check(tmp_path, text, pl.DataFrame({"a": [1.0, 2.0]}))) == set()
    checks = check(tmp_path, text, pl.DataFrame({"a": [1.0, 1.5]}))
    assert checks["schema:a:dtype"]["rows"] == 1


def test_a_warning_passes_and_is_said(tmp_path):
    checks = check(
        tmp_path,
        "columns:\n  a: {lt: {max_value: 1, raise_warning: true}}\n",
        pl.DataFrame({"a": [5]}),
    )
    assert checks["schema:a:less_than"]["status"] == "pass"
    assert checks["schema:a:less_than"]["rows"] == 1


@pytest.mark.parametrize("seed", range(30))
def test_what_fails_in_pandera_fails_here(tmp_path, seed):
    """Pandera itself, on the whole eager frame, is the judge of the verdict."""
    import pandera.errors

    chance = random.Random(seed)  # noqa: S311
    rows = 12
    frame = pl.DataFrame(
        {
            "a": [chance.choice([1, 2, 3, None] if seed % 3 else [1, 2, 3]) for _ in range(rows)],
            "b": [chance.choice(["x", "y", "z"] if seed % 2 else ["x", "y"]) for _ in range(rows)],
            "c": [chance.random() * (2 if seed % 5 == 0 else 1) for _ in range(rows)],
        }
    )
    text = (
        f"strict: {str(seed % 7 == 0).lower()}\ncolumns:\n"
        "  a: {dtype: Int64, in_range: {min_value: 1, max_value: 3}}\n"
        "  b: {dtype: String, isin: [x, y]}\n  c: {dtype: Float64, le: 1.0, unique: true}\n"
    )
    if seed % 11 == 0:
        frame = frame.with_columns(extra=1)
    try:
        read_schema(tmp_path, text).validate(frame, lazy=True)
        passes = True
    except pandera.errors.SchemaErrors:
        passes = False
    assert (not failing(check(tmp_path, text, frame))) is passes


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("columns:\n  a: {greater_then: 0}\n", "Did you mean greater_than?", 3),
        ("columns:\n  a: {nulable: true}\n", "Did you mean nullable?", 3),
        ("strct: true\ncolumns: {a: {}}\n", "Did you mean strict?", 2),
        (
            "columns:\n  a:\n    gt: 0\n    checks: [{value: 1, options: {check_name: ne}}]\n",
            "write gt under checks",
            4,
        ),
        ("columns:\n  a: {checks: {no_such: 1}}\n", "no_such is unknown", 3),
        ("columns:\n  a: {gt: 0}\n  a: {gt: 1}\n", "a stands here twice", 4),
        ("columns: [a]\n", "expected a mapping", 2),
        ("columns:\n  a: {dtype: Intt64}\n", "cannot read the column a: cannot parse input", 3),
        ("columns:\n  a: {in_range: {min: 1, max: 2}}\n", "cannot read the column a: in_range", 3),
        ("columns:\n  a: {}\n  b: {dtype: Date, gt: soon}\n", "the column b: Invalid iso", 4),
        ("columns: {a: {}}\nchecks: {gt: {}}\n", "Pandera cannot read checks", 3),
        ("columns: {a: {}}\ndtype: Intt64\n", "Pandera cannot read dtype", 3),
        ("columns:\n  a: {str_matches: '^[A-Z{3}$('}\n", "cannot read the column a: unterm", 3),
        ("columns:\n  a: {str_contains: 'x(?=y)'}\n", "str_contains: look-around", 3),
        ("columns:\n  'a(': {regex: true}\n", "no regular expression", 3),
        ("columns:\n  a: {isin: [2027-13-01]}\n", "Not valid YAML: month must be", 3),
        ("columns:\n  5: {}\n", "Column 5: put its name in quotes", 3),
        ("columns:\n  a: {coerce: maybe}\n", "coerce: expected true or false, not 'maybe'", 3),
        ("columns: {a: {}}\nstrict: yess\n", "strict: expected true or false", 3),
        ("columns: {a: {}}\nunique: true\n", "unique: expected a column, columns, or", 3),
        ("columns: {a: {}}\nunique: [a, [b]]\n", "unique: expected a column, columns, or", 3),
        ("columns:\n  a:\n    gt: {value: 1, options: {ignore: 1}}\n", "options: expected", 4),
        ("columns: &x {a: *x}\n", "Nested too deeply", None),
        ("columns: {}\n", "asks for nothing", None),
        ("columns: {a: {\n", "Not valid YAML", 3),
        ("columns: {a: {}}\n---\na: 1\n", "a single document in the stream, but found", 3),
        ("index: [{dtype: int64}]\ncolumns: {a: {}}\n", "made for pandas", 2),
    ],
)
def test_a_slip_of_the_pen_is_refused(tmp_path, text, message, line):
    with pytest.raises(ConfigurationError, match=re.escape(message)) as raised:
        read_schema(tmp_path, text)
    assert raised.value.line == line
    assert Path(raised.value.file).name == "schema.yaml"


@pytest.mark.parametrize("text", ["- a\n", "hello\n", "5\n", ""])
def test_a_schema_is_a_mapping(tmp_path, text):
    file = tmp_path / "schema.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="Expected a Pandera schema") as raised:
        schema.load(file)
    assert raised.value.line == 1


def test_a_default_of_another_type_fails(tmp_path):
    text = "columns:\n  a: {dtype: Date, default: .nan}\n"
    checks = check(tmp_path, text, pl.DataFrame({"a": [datetime.date(2013, 1, 1), None]}))
    assert failing(checks) == {"schema:a:default", "schema:a:nullable"}


ODD = ["x", "5", ".nan", "null", "[]", "[[a]]", "{}", "{value: 1, options: x}", "'a(?=b)'", "Enum"]


@pytest.mark.filterwarnings("ignore:Setting report_duplicates")
@pytest.mark.parametrize("value", ODD)
def test_no_value_of_a_key_gives_a_traceback(tmp_path, value):
    frame = pl.DataFrame({"a": [1, 2, None], "b": ["x", "y", None]})
    texts = [f"columns:\n  a: {{}}\n{key}: {value}\n" for key in schema._FRAME_KEYS - {"columns"}]
    for key in schema._COLUMN_KEYS | schema._CHECKS:
        texts += [f"columns:\n  {column}: {{{key}: {value}}}\n" for column in "ab"]
    for text in texts:
        with contextlib.suppress(ConfigurationError):
            check(tmp_path, text, frame)


def test_a_schema_made_for_pandas_says_what_to_change(tmp_path):
    file = tmp_path / "schema.yaml"
    file.write_text("version: 0.35.0\nschema_type: dataframe\ncolumns: {a: {dtype: int64}}\n")
    with pytest.raises(ConfigurationError, match="schema_type: polars_dataframe") as raised:
        schema.load(file)
    assert raised.value.line == 2


def test_batches_name_their_place(tmp_path):
    frame = pl.DataFrame({"a": range(5)})
    frame.write_parquet(tmp_path / "x.parquet")
    source = Source(
        path="x", files=(), names=("x",), readable=(tmp_path / "x.parquet",), heights=(5,),
        columns=dict(frame.schema), is_csv=False,
    )  # fmt: skip
    places = [(batch.offset, batch.frame.height) for batch in source.batches(rows=2)]
    assert places == [(0, 2), (2, 2), (4, 1)]
    assert all(isinstance(batch, Batch) for batch in source.batches())
