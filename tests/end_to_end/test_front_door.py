"""The front door: the quality gate as one step of a job of the caller's own."""

from __future__ import annotations

import json

import pytest
from conftest import Consumer

pytestmark = pytest.mark.slow
WORKFLOW = """\
name: One step
on: pull_request
permissions: {}
jobs:
  check:
    runs-on: ubuntu-24.04
    permissions:
      contents: read
    outputs:
      verdict: ${{ steps.gate.outputs.verdict }}
      baseline-version: ${{ steps.gate.outputs.baseline-version }}
      report-artifact: ${{ steps.gate.outputs.report-artifact }}
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          persist-credentials: false
      - id: gate
        uses: mlops-actions/mlops-actions@main
"""


@pytest.fixture
def caller(registered: Consumer) -> Consumer:
    """The repository with a model registered, and a workflow that has one step of ours."""
    path = registered.folder / ".github" / "workflows" / "one-step.yml"
    path.write_text(WORKFLOW)
    registered.commit("The gate as one step")
    registered.branch("change")
    return registered


def test_one_step_judges_and_writes_nothing(caller: Consumer) -> None:
    caller.replace("params.yaml", r"^(\s+max_iter:).*", r"\1 60")
    caller.commit("More iterations")
    before = caller.git("--git-dir", ".mlops-local/origin.git", "rev-parse", "mlops-state")
    run = caller.happens("pull_request", workflow="one-step.yml")
    assert run.green, run.log[-5000:]
    assert run.outputs["check"] == {
        "verdict": "blessed",
        "baseline-version": "1",
        "report-artifact": "mlops-late-flights-report",
    }
    found = json.loads((run.artifact("mlops-late-flights-report") / "gate.json").read_text())
    assert found["predicate"]["bootstrap"] is False
    assert "blessed" in "".join(run.summaries.values())
    assert run.comments == []
    assert run.git("rev-parse", "mlops-state") == before


def test_training_that_fails_is_a_red_job_with_a_report(caller: Consumer) -> None:
    caller.replace("model/train.py", r"\A", "raise SystemExit('no model today')\n")
    caller.commit("Break training")
    run = caller.happens("pull_request", workflow="one-step.yml")
    assert not run.green
    assert run.outputs["check"]["verdict"] == "inconclusive"
    assert (run.artifact("mlops-late-flights-report") / "report.html").is_file()
    assert "training" in "".join(run.summaries.values())
