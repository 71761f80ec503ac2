"""Changed rows: what is asked of the answers, and answers that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from gate_files import HEAD, project

from mlops_actions import config, probe
from mlops_actions.config import Project
from mlops_actions.errors import ConfigurationError
from mlops_actions.gate import behaviour, explanation
from mlops_actions.gate.assessment import choose

GATE = """
metrics: {roc_auc: {threshold: 0.7}}
behaviour:
  rows: 40
  invariance: [{name: the carrier, change: {carrier: [UA, AA]}, max_change: 0.01}]
  directional: [{name: later, add: {hour: 5}, expect: increase, tolerance: 0.001}]
  minimum_functionality:
    - {name: at night, rows: [{hour: 0, carrier: UA}, {hour: 1, carrier: AA}], expect: 0, max: 0.3}
  tests: tests/behaviour.py
explanation: {rows: 200, repeats: 2, max_importance_share: 0.95}
"""
REGRESSION = HEAD.replace("classification", "regression").replace("labels: [0, 1]\n", "")


class Model:
    """Says yes late in the day; by carrier, where it is told to."""

    def __init__(self, *, carrier: float = 0.0, hour: float = 0.04, offset: float = 0.05) -> None:
        self.carrier, self.hour, self.offset = carrier, hour, offset

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        chance = (
            self.offset
            + self.hour * frame["hour"].to_numpy()
            + self.carrier * (frame["carrier"] == "UA").fill_null(value=False).to_numpy()
        )
        chance = np.clip(chance, 0, 1)
        return pl.DataFrame(
            {
                "prediction": (chance > 0.5).astype(np.int64),
                "probability_0": 1 - chance,
                "probability_1": chance,
            }
        )


@pytest.fixture
def tried(tmp_path: Path) -> Any:
    """Write changed rows with the stage's own code, answer them, judge them."""

    class Tried:
        folder = tmp_path / "probe"
        loaded: Project

        def write(self, gate: str = GATE, head: str = HEAD) -> None:
            random = np.random.default_rng(0)
            hour = random.integers(0, 24, 300)
            late = (random.random(300) < 0.05 + 0.04 * hour).astype(np.int64)
            frame = pl.DataFrame(
                {
                    "row": [f"r{n}" for n in range(300)],
                    "late": late,
                    "hour": hour,
                    "carrier": random.choice(["UA", "AA", "DL"], 300),
                }
            )
            frame.write_parquet(tmp_path / "evaluation.parquet")
            (tmp_path / "mlops.yaml").write_text(head + _indented(gate))
            self.loaded = config.load(tmp_path / "mlops.yaml")
            part = {"rows": 300, "files": [{"path": "evaluation.parquet"}]}
            probe.write(self.loaded, part, self.folder)
            (self.folder / probe.TESTS).write_text(
                '<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>'
            )

        def answer(self, model: Model, side: str = "candidate") -> None:
            frame = pl.read_parquet(self.folder / probe.ROWS)
            model(frame).write_parquet(self.folder / f"{side}.parquet")

        def behaviour(self) -> Any:
            return behaviour.judge(self.loaded.config, self.folder)

        def explanation(self) -> Any:
            keys = tmp_path / "evaluation.parquet"
            return explanation.judge(choose(self.loaded), self.folder, keys)

    def _indented(gate: str) -> str:
        return "".join(f"  {line}\n" for line in gate.strip().splitlines())

    made = Tried()
    made.write()
    return made


def by_name(found: Any) -> dict[str, str]:
    return {item["name"].rpartition(": ")[2]: item["status"] for item in found.checks}


def test_the_plan_has_every_case(tried):
    plan = pl.read_parquet(tried.folder / probe.PLAN)
    counts = dict(plan.group_by("case").len().iter_rows())
    assert counts == {
        "base": 200, "case: the carrier": 80, "case: later": 40, "case: at night": 2,
        "permuted: hour": 400, "permuted: carrier": 400,
    }  # fmt: skip


def test_a_model_that_behaves_passes_and_each_case_has_a_mutant(tried):
    tried.answer(Model())
    found = tried.behaviour()
    assert set(by_name(found).values()) == {"pass"}
    assert len(found.checks) == 4
    assert [noticed for _, noticed in found.mutants] == [True] * 3


@pytest.mark.parametrize(
    ("model", "failing"),
    [
        (Model(carrier=0.1), "the carrier"),
        (Model(hour=-0.01, offset=0.3), "later"),
        (Model(offset=0.35), "at night"),
    ],
)
def test_a_case_that_is_broken_shows_its_rows(tried, model, failing):
    tried.answer(model)
    found = tried.behaviour()
    bad = [item for item in found.checks if item["status"] == "fail"]
    assert [item["name"].rpartition(": ")[2] for item in bad] == [failing]
    examples = bad[0]["examples"]
    assert examples
    assert all("answer" in row for row in examples)
    if failing != "at night":
        assert all(row["row"].startswith("r") and "answer before" in row for row in examples)


def test_a_share_of_the_rows_may_fail(tried):
    gate = GATE.replace("max_change: 0.01", "max_change: 0.01, max_share: 0.99")
    tried.write(gate)
    tried.answer(Model(carrier=0.1))
    assert by_name(tried.behaviour())["the carrier"] == "pass"


def test_values_of_sensitive_columns_are_not_shown(tried):
    tried.write(head=HEAD.replace("id: row", "id: row\nsensitive: [carrier, row]"))
    tried.answer(Model(carrier=0.1))
    (bad,) = [item for item in tried.behaviour().checks if item["status"] == "fail"]
    assert all(set(row) == {"answer before", "answer"} for row in bad["examples"])


def test_labels_alone_have_no_direction(tried):
    tried.answer(Model(carrier=0.1))
    path = tried.folder / "candidate.parquet"
    pl.read_parquet(path).select("prediction").write_parquet(path)
    found = by_name(tried.behaviour())
    assert found["later"] == "inconclusive"
    assert found["at night"] == "inconclusive"


def test_numbers_of_a_regression(tried):
    tried.write(
        GATE.replace("roc_auc", "mean_absolute_error").replace("expect: 0, ", ""), REGRESSION
    )
    frame = pl.read_parquet(tried.folder / probe.ROWS)
    said = pl.DataFrame({"prediction": frame["hour"] * 0.01})
    said.write_parquet(tried.folder / "candidate.parquet")
    assert set(by_name(tried.behaviour()).values()) == {"pass"}
    said.with_columns(-pl.col("prediction")).write_parquet(tried.folder / "candidate.parquet")
    assert by_name(tried.behaviour())["later"] == "fail"


def test_large_numbers_have_mutants_that_are_noticed(tried):
    gate = GATE.replace("roc_auc", "mean_absolute_error").replace("expect: 0, ", "")
    gate = gate.replace("max_change: 0.01", "max_change: 0").replace("max: 0.3", "max: 1.0e+13")
    tried.write(gate, REGRESSION)
    frame = pl.read_parquet(tried.folder / probe.ROWS)
    said = pl.DataFrame({"prediction": frame["hour"] * 1e10 + 1e12})
    said.write_parquet(tried.folder / "candidate.parquet")
    found = tried.behaviour()
    assert set(by_name(found).values()) == {"pass"}
    assert all(noticed for _, noticed in found.mutants)


def test_a_label_alone_can_be_expected(tried):
    tried.write(GATE.replace("expect: 0, max: 0.3", "expect: 0"))
    tried.answer(Model())
    found = tried.behaviour()
    assert by_name(found)["at night"] == "pass"
    path = tried.folder / "candidate.parquet"
    pl.read_parquet(path).select("prediction").write_parquet(path)
    assert ("answers that break at night", True) in tried.behaviour().mutants


def test_a_regression_expects_no_label():
    gate = GATE.replace("roc_auc", "mean_absolute_error")
    with pytest.raises(ConfigurationError, match="expect is a label"):
        project(gate, head=REGRESSION)


def test_probabilities_of_true_and_false_are_read(tried):
    tried.write(head=HEAD.replace("[0, 1]", "[false, true]"))
    tried.answer(Model(carrier=0.3))
    path = tried.folder / "candidate.parquet"
    pl.read_parquet(path).select(
        pl.col("prediction").cast(pl.Boolean),
        probability_false="probability_0",
        probability_true="probability_1",
    ).write_parquet(path)
    assert by_name(tried.behaviour())["the carrier"] == "fail"


def _missing(folder: Path) -> None:
    (folder / "candidate.parquet").unlink()


def _short(folder: Path) -> None:
    path = folder / "candidate.parquet"
    pl.read_parquet(path).head(10).write_parquet(path)


def _nan(folder: Path) -> None:
    path = folder / "candidate.parquet"
    frame = pl.read_parquet(path)
    frame.with_columns(probability_1=pl.lit(np.nan)).write_parquet(path)


def _null(folder: Path) -> None:
    path = folder / "candidate.parquet"
    frame = pl.read_parquet(path)
    frame.with_columns(prediction=pl.lit(None, pl.Int64)).write_parquet(path)


def _no_plan(folder: Path) -> None:
    (folder / probe.PLAN).unlink()


def _garbled(folder: Path) -> None:
    (folder / "candidate.parquet").write_bytes(b"PAR1")


def _other_plan(folder: Path) -> None:
    path = folder / probe.PLAN
    pl.read_parquet(path).with_columns(case=pl.lit("base")).write_parquet(path)


@pytest.mark.parametrize("spoil", [_missing, _short, _nan, _null, _no_plan, _garbled, _other_plan])
def test_answers_that_are_none_are_never_a_pass(tried, spoil):
    tried.answer(Model())
    spoil(tried.folder)
    found = tried.behaviour()
    assert "inconclusive" in {item["status"] for item in found.checks}
    assert {item["status"] for item in tried.explanation().checks} == {"inconclusive"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{carrier: [UA, AA]}", "{airline: [UA]}"),
        ("{hour: 5}", "{minute: 5}"),
        ("hour: 0, carrier", "minute: 0, carrier"),
        ("hour: 0, carrier", "hour: early, carrier"),
    ],
)
def test_a_case_that_does_not_fit_the_data_is_an_error_with_its_line(tried, old, new):
    with pytest.raises(ConfigurationError) as raised:
        tried.write(GATE.replace(old, new))
    assert raised.value.line


def test_a_date_is_written_as_text(tried):
    frame = pl.DataFrame({"row": ["a"], "day": ["2013-05-01"]}).with_columns(
        pl.col("day").str.to_date()
    )
    given = {"day": "2013-02-28"}
    literal = probe._literal(tried.loaded, frame.schema, given, "day")
    assert str(frame.with_columns(literal)["day"][0]) == "2013-02-28"
    with pytest.raises(ConfigurationError, match="does not fit the column day"):
        probe._literal(tried.loaded, frame.schema, {"day": "soon"}, "day")


# --- The user's own tests ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>', {"pass"}),
        ('<testsuite><testcase name="a"><failure message="no"/></testcase></testsuite>', {"fail"}),
        ('<testsuite><testcase name="a"><error message="no"/></testcase></testsuite>', {"fail"}),
        (
            '<testsuite><testcase name="a"><skipped message="no"/></testcase></testsuite>',
            {"inconclusive"},
        ),
        ("<testsuite></testsuite>", {"inconclusive"}),
        ("<testsuite>", {"inconclusive"}),
        ("", {"inconclusive"}),
        (None, {"inconclusive"}),
        (
            '<!DOCTYPE x [<!ENTITY a "b">]><testsuite><testcase name="&a;"/></testsuite>',
            {"inconclusive"},
        ),
    ],
)
def test_results_of_the_users_own_tests(tried, text, expected):
    tried.answer(Model())
    path = tried.folder / probe.TESTS
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    found = [item for item in tried.behaviour().checks if "tests/behaviour.py" in item["name"]]
    assert {item["status"] for item in found} == expected


# --- Explanation -------------------------------------------------------------------------------


def test_importance_is_measured_and_a_dominating_column_fails(tried):
    tried.answer(Model(carrier=0.2, hour=0.03))
    tried.answer(Model(carrier=-0.2, hour=0.03), "champion")
    found = tried.explanation()
    columns = found.sections["explanation"]["columns"]
    assert columns[0]["column"] == "hour"
    assert columns[0]["candidate"]["low"] > 0
    assert found.sections["explanation"]["moved"][0]["column"] in {"hour", "carrier"}
    assert [noticed for _, noticed in found.mutants] == [True]
    tried.answer(Model(hour=0.04))
    (bad,) = tried.explanation().checks
    assert bad["status"] == "fail"
    assert bad["column"] == "hour"


@pytest.mark.parametrize("kind", [pl.Float64, pl.Boolean])
def test_importance_reads_labels_as_the_gate_does(tried, kind):
    tried.answer(Model(carrier=0.2, hour=0.03))
    expected = tried.explanation().sections
    keys = tried.folder.parent / "evaluation.parquet"
    pl.read_parquet(keys).with_columns(pl.col("late").cast(kind)).write_parquet(keys)
    assert tried.explanation().sections == expected


def test_a_row_without_a_group_is_said(tried):
    tried.write(head=HEAD.replace("id: row", "id: row\ngroup: day"))
    keys = tried.folder.parent / "evaluation.parquet"
    days = pl.Series("day", [None if place % 2 else place % 30 for place in range(300)])
    pl.read_parquet(keys).with_columns(days).write_parquet(keys)
    tried.answer(Model())
    (said,) = tried.explanation().checks
    assert said["status"] == "inconclusive"
    assert "have no group" in said["message"]


def test_importance_needs_a_metric_that_made_up_answers_have():
    head = HEAD.replace("gate:\n", "gate:\n  explanation: {}\n")
    loaded = project("metrics: {loss_cost: {threshold: 1, greater_is_better: false}}", head=head)
    with pytest.raises(ConfigurationError, match="Importance cannot be measured by loss_cost"):
        choose(loaded)


def test_a_model_that_listens_to_nothing_is_not_passed(tried):
    tried.answer(Model(hour=0.0))
    assert {item["status"] for item in tried.explanation().checks} == {"inconclusive"}


def test_nothing_is_asked_without_the_sections(tmp_path):
    loaded = project("metrics: {roc_auc: {threshold: 0.7}}")
    assert behaviour.judge(loaded.config, tmp_path).checks == []
    assert explanation.judge(choose(loaded), tmp_path, tmp_path).checks == []
    assert not probe.wanted(loaded)
