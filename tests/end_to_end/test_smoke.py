"""Smoke runs: a sample against the base branch's code, and what they may never do."""

from __future__ import annotations

import pytest
from conftest import Consumer

pytestmark = pytest.mark.slow
SMOKE = """pull-request: smoke
smoke:
  command: python -m model.train
  sample: 0.2
  metric: roc_auc
  floor: 0.55
  max_loss: 0.02
"""


@pytest.fixture
def sampled(registered: Consumer) -> Consumer:
    """The repository with smoke runs on pull requests, on main already."""
    registered.replace("mlops.yaml", r"^pull-request: full\n", SMOKE)
    registered.commit("Smoke runs on pull requests")
    registered.branch("change")
    return registered


def test_a_change_that_breaks_nothing_passes_and_is_never_blessed(sampled: Consumer) -> None:
    sampled.replace("model/train.py", r"\A", "# The same code.\n")
    sampled.commit("A comment")
    run = sampled.happens("pull_request", workflow="quality-gate.yml")
    assert run.green, run.log[-5000:]
    assert run.outputs["quality-gate"]["verdict"] == "passed"
    assert "blesses nothing" in run.comments[0]["body"]


def test_a_change_that_breaks_the_model_fails(sampled: Consumer) -> None:
    sampled.replace("params.yaml", r"^(\s+min_samples_leaf:).*", r"\1 1000000")
    sampled.commit("No leaf is ever large enough: a constant")
    run = sampled.happens("pull_request", workflow="quality-gate.yml")
    assert not run.green
    assert run.outputs["quality-gate"]["verdict"] == "failed"
    assert "smoke." in run.comments[0]["body"]


def test_the_label_asks_for_the_full_gate(sampled: Consumer) -> None:
    sampled.replace("params.yaml", r"^(\s+max_iter:).*", r"\1 60")
    sampled.commit("More iterations")
    run = sampled.happens("pull_request", workflow="quality-gate.yml", labels=["full-training"])
    assert run.outputs["quality-gate"]["verdict"] == "blessed"


def test_a_base_without_a_smoke_command_is_said(registered: Consumer) -> None:
    registered.branch("change")
    registered.replace("mlops.yaml", r"^pull-request: full\n", SMOKE)
    registered.commit("Smoke runs on pull requests")
    run = registered.happens("pull_request", workflow="quality-gate.yml")
    summary = "".join(run.summaries.values())
    assert "floor and contract only" in summary
    # From full to smoke is a looser policy, which somebody else has to approve.
    assert run.outputs["quality-gate"]["verdict"] == "failed"
    assert "policy" in summary
