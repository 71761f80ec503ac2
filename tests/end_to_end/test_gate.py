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


def gate(run: LocalRun) -> dict:
    """The predicate of the gate's evidence, out of the report artifact."""
    path = run.artifact("mlops-late-flights-report") / "gate.json"
    return json.loads(path.read_text())["predicate"]


def failing(run: LocalRun) -> list[str]:
    """The names of the checks that failed."""
    return [item["name"] for item in gate(run)["checks"] if item["status"] == "fail"]


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


ANSWER = """\
from model.pause import pause


def predict(model, frame):
    pause()
    chance = model.predict_proba(frame[list(model.feature_names_in_)])
    answers = {f"probability_{label}": chance[:, label] for label in (0, 1)}
    return {"prediction": chance.argmax(axis=1), **answers}
"""


def test_rejected_for_latency_only(registered: Consumer) -> None:
    registered.replace("mlops.yaml", r"^gate:\n", "score: model.answer:predict\ngate:\n" + COST)
    (registered.folder / "model" / "answer.py").write_text(ANSWER)
    pause = registered.folder / "model" / "pause.py"
    pause.write_text("def pause():\n    pass\n")
    registered.commit("Bound the time")  # This is the policy in force.
    registered.branch("slow")
    iterations(registered, 60)
    pause.write_text("import time\n\n\ndef pause():\n    time.sleep(0.3)\n")
    run = requested(registered, "Slow")
    assert not run.green
    assert failing(run) == ["latency: p50 of one row"], gate(run)["reasons"]
    assert gate(run)["verdict"] == "rejected"
