"""The gate's rules on the flights repository, end to end: each rejects alone, or lets through."""

from __future__ import annotations

import json

import pytest
from conftest import Consumer

from mlops_actions.local import LocalRun

pytestmark = pytest.mark.slow
BEHAVIOUR = """\
def test_probabilities_are_probabilities(predict):
    import pandas as pd

    rows = pd.read_parquet("data/development.parquet").head(50)
    answers = predict(rows)
    assert answers["probability_1"].between(0, 1).all()
"""
ASKED = """\
  behaviour:
    rows: 100
    invariance: [{name: another day of the date column, change: {date: ["2013-01-01"]}}]
    directional: [{name: later, add: {departure: 0}, expect: increase}]
    tests: tests/behaviour.py
  latency: {max_ratio: 8, quantile: p50, rounds: 100, batch: 200}
  explanation: {rows: 1000, repeats: 1, max_importance_share: 0.99}
"""


COST = "  latency: {max_row: 150, quantile: p50, rounds: 50, batch: 100}\n"
PARTS = """\
  fairness: [{columns: [carrier], difference: {selection_rate: {max: 0.5}}}]
  slices:
    - {columns: [carrier], metrics: [roc_auc]}
"""
ANSWER = """\
from model.quirk import quirk


def predict(model, frame):
    chance = model.predict_proba(frame[list(model.feature_names_in_)])[:, 1]
    chance, label = quirk(model, frame, chance)
    return {"prediction": label, "probability_0": 1 - chance, "probability_1": chance}
"""
# What a candidate (it has more than 50 trees) does to its answers, or to those about one carrier.
QUIRK = """\
import time


def quirk(model, frame, chance):
    label = (chance > 0.5).astype(int)
    if model[-1].max_iter > 50:
        few = (frame["carrier"] == "US").to_numpy()
        {does}
    return chance, label
"""
DESTROYS, FAVOURS = "chance[few] = 0.2", "label[few] = 1"
SLOWS, NOTHING = "time.sleep(0.3)", "del few"


def gate(run: LocalRun) -> dict:
    """The predicate of the gate's evidence, out of the report artifact."""
    path = run.artifact("mlops-late-flights-report") / "gate.json"
    return json.loads(path.read_text())["predicate"]


def failing(run: LocalRun) -> list[str]:
    """The names of the checks that failed."""
    return [item["name"] for item in gate(run)["checks"] if item["status"] == "fail"]


def first_lines(run: LocalRun) -> list[str]:
    """The first three lines of the comment, for someone who reads nothing else."""
    body = run.comments[0]["body"].splitlines()
    return [line for line in body if line and not line.startswith("<!--")][:3]


def iterations(consumer: Consumer, number: int) -> None:
    consumer.replace("params.yaml", r"^(\s+max_iter:).*", rf"\1 {number}")


def requested(consumer: Consumer, message: str, **options: object) -> LocalRun:
    consumer.commit(message)
    return consumer.happens("pull_request", workflow="quality-gate.yml", **options)


def test_behaviour_latency_and_explanation_are_judged_and_a_stricter_policy_needs_nobody(
    registered: Consumer,
) -> None:
    registered.branch("more")
    iterations(registered, 60)
    (registered.folder / "tests" / "behaviour.py").write_text(BEHAVIOUR)
    registered.replace("mlops.yaml", r"^gate:\n", "gate:\n" + ASKED)
    run = requested(registered, "Ask for more")
    found = gate(run)
    assert found["verdict"] == "blessed", (found["reasons"], run.log[-5000:])
    statuses = {item["name"]: item["status"] for item in found["checks"]}
    for start in ("behaviour: ", "latency: ", "explanation: ", "identity: ", "policy: "):
        named = {name: status for name, status in statuses.items() if name.startswith(start)}
        assert named, start
        assert set(named.values()) == {"pass"}, named
    assert {item["effect"] for item in found["policy_changes"]["changes"]} == {"stricter"}
    assert found["latency"]["once"]["champion"]["memory"] > 0
    assert found["explanation"]["columns"][0]["champion"]
    report = run.comments[0]["body"]
    assert "#### Latency" in report
    assert "#### Policy changes" in report


def test_a_looser_policy_waits_for_somebody_elses_label(registered: Consumer) -> None:
    registered.branch("looser")
    iterations(registered, 60)
    registered.replace("mlops.yaml", r"threshold: 0\.70", "threshold: 0.69")
    run = requested(registered, "Ask for less")
    assert not run.green
    assert failing(run) == ["policy: changes"], gate(run)["reasons"]
    assert "accuracy.threshold: 0.7 -&gt; 0.69" in run.comments[0]["body"].replace("&#62;", "&gt;")
    run = registered.happens(
        "pull_request",
        workflow="quality-gate.yml",
        actor="grace",
        activity="labeled",
        labels=["policy-approved"],
    )
    assert run.green, gate(run)["reasons"]
    assert gate(run)["verdict"] == "blessed"
    assert gate(run)["policy_changes"]["approval"]["who"] == "grace"


def quirk(consumer: Consumer, does: str) -> None:
    """Let the candidate answer so; nobody has to approve this module, only the one of `score`."""
    (consumer.folder / "model" / "quirk.py").write_text(QUIRK.format(does=does))


@pytest.fixture
def asked(registered: Consumer) -> Consumer:
    """The registered repository, whose policy looks at carriers."""
    registered.replace("mlops.yaml", r"^  slices:.*\n", PARTS)
    registered.replace("mlops.yaml", r"^gate:\n", "score: model.answer:predict\ngate:\n")
    registered.replace("mlops.yaml", r"margin: 0\.005$", "margin: 0.03")
    (registered.folder / "model" / "answer.py").write_text(ANSWER)
    quirk(registered, NOTHING)
    registered.commit("Look at carriers")  # This is the policy in force.
    return registered


def candidate(consumer: Consumer, does: str) -> LocalRun:
    """A pull request with another model that answers so."""
    consumer.branch("other")
    iterations(consumer, 60)
    quirk(consumer, does)
    return requested(consumer, "Another model")


def test_rejected_by_one_slice_only(asked: Consumer) -> None:
    run = candidate(asked, DESTROYS)
    assert not run.green
    assert failing(run) == ["development: roc_auc non_inferiority_margin, carrier=US"], gate(run)[
        "reasons"
    ]
    assert gate(run)["verdict"] == "rejected"
    verdict, reason, *_ = first_lines(run)
    assert "late-flights: rejected" in verdict
    assert "roc_auc on carrier=US" in reason


def test_rejected_for_fairness_only(asked: Consumer) -> None:
    run = candidate(asked, FAVOURS)
    assert not run.green
    assert failing(run) == ["development: difference of selection_rate, carrier"], gate(run)[
        "reasons"
    ]
    assert gate(run)["verdict"] == "rejected"


def test_rejected_for_latency_only(asked: Consumer) -> None:
    asked.replace("mlops.yaml", r"^gate:\n", "gate:\n" + COST)
    asked.commit("Bound the time")
    run = candidate(asked, SLOWS)
    assert not run.green
    assert failing(run) == ["latency: p50 of one row"], gate(run)["reasons"]
    assert gate(run)["verdict"] == "rejected"


def test_too_close_to_call_is_inconclusive(registered: Consumer) -> None:
    registered.branch("better")
    iterations(registered, 51)
    rule = r"\g<0>      min_absolute_change: 0\n"
    registered.replace("mlops.yaml", r"^    roc_auc:.*\n", rule)
    run = requested(registered, "It must be better")
    assert not run.green
    assert failing(run) == []
    assert gate(run)["verdict"] == "inconclusive", gate(run)["reasons"]
    assert "development: roc_auc changed by" in gate(run)["reasons"][0]


def test_rows_that_training_saw_are_a_leak(registered: Consumer) -> None:
    registered.branch("leak")
    registered.replace(
        "model/prepare.py",
        r'"training": flights\.filter\(between\("date", params\["training"\]\) & ~frozen\)',
        '"training": flights.filter((between("date", params["training"]) | (between("date", '
        'params["development"]) & (pl.col("weekday") == 1))) & ~frozen)',
    )
    run = requested(registered, "More data")
    assert not run.green
    assert gate(run)["verdict"] == "rejected"
    found = failing(run)
    assert "identity: development and training, by id" in found, (found, gate(run)["reasons"])
    assert all(name.startswith("identity: development and training") for name in found), found


def test_an_override_registers_and_is_told_later_by_a_dry_run_too(asked: Consumer) -> None:
    iterations(asked, 60)
    quirk(asked, DESTROYS)
    override = "  override: {who: ada, why: The old one must go., until: 2}\n"
    asked.replace("mlops.yaml", r"^gate:\n", "gate:\n" + override)
    asked.commit("Let it through")
    run = asked.happens("push")
    assert run.green, run.log[-5000:]
    assert run.outputs["train"]["verdict"] == "blessed"
    assert run.outputs["train"]["version"] == "2"
    found = gate(run)
    assert (found["override"]["who"], found["override"]["verdict"]) == ("ada", "rejected")
    assert failing(run) == ["release: roc_auc non_inferiority_margin, carrier=US"]

    asked.replace("mlops.yaml", r"^gate:\n", "gate:\n  mode: dry_run\n")
    asked.commit("Only look")
    asked.branch("later")
    iterations(asked, 70)
    quirk(asked, FAVOURS)
    run = requested(asked, "A later model")
    found = gate(run)
    assert run.green, found["reasons"]
    assert (found["verdict"], found["gated"]) == ("rejected", False)
    told = "The baseline, version 2, was let through against the verdict rejected by ada"
    assert any(told in text for text in found["warnings"])
    assert "rejected (dry run: stops nothing)" in first_lines(run)[0]
    assert told in run.comments[0]["body"]
