"""Events other than a push and a pull request of the repository's own."""

from __future__ import annotations

import pytest
from conftest import Consumer

from mlops_actions.local import LocalRun

pytestmark = pytest.mark.slow
GATE = "quality-gate"


def verdict(run: LocalRun, job: str = GATE) -> str:
    return run.outputs[job]["verdict"]


def test_force_trains_again(registered: Consumer) -> None:
    run = registered.happens("workflow_dispatch", workflow="train.yml", inputs={"force": "true"})
    assert run.green
    assert verdict(run, "train") == "unchanged"
    assert "Nothing to train" not in run.log
    assert "Training: done" in run.log


def test_a_schedule_registers(generated: Consumer) -> None:
    run = generated.happens("schedule", workflow="train.yml")
    assert set(run.event) == {"schedule"}  # No repository: nothing may need it to be told.
    assert run.green, run.log[-5000:]
    assert verdict(run, "train") == "blessed"
    assert run.outputs["train"]["version"] == "1"


@pytest.mark.parametrize("options", [{"fork": True}, {"actor": "dependabot[bot]"}])
def test_without_secrets_and_without_a_champion_it_is_inconclusive(
    generated: Consumer, options: dict
) -> None:
    generated.branch("from-outside")
    generated.replace("params.yaml", r"^(\s+max_iter:).*", r"\1 60")
    generated.commit("From outside")
    run = generated.happens("pull_request", workflow="quality-gate.yml", **options)
    assert not run.green
    assert verdict(run) == "inconclusive"
    assert "gh pr create" in "".join(run.summaries.values())
    # A fork has no right to comment, and that alone changed nothing.
    assert len(run.comments) == (0 if "fork" in options else 1)


def test_a_fork_sees_the_champion_of_the_branch(registered: Consumer) -> None:
    registered.branch("from-a-fork")
    registered.replace("params.yaml", r"^(\s+max_iter:).*", r"\1 60")
    registered.commit("From a fork")
    run = registered.happens("pull_request", workflow="quality-gate.yml", fork=True)
    assert run.green
    assert verdict(run) == "blessed"
    assert run.comments == []


def test_a_broken_configuration_is_said_on_the_pull_request(generated: Consumer) -> None:
    generated.branch("broken")
    generated.replace("mlops.yaml", r"^gate:", "gait:")
    generated.commit("Break mlops.yaml")
    run = generated.happens("pull_request", workflow="quality-gate.yml")
    assert not run.green
    assert verdict(run) == "inconclusive"
    (comment,) = run.comments
    assert "gait" in comment["body"]
    assert any(item.file and "mlops.yaml" in item.file for item in run.annotations)


def test_another_ref_never_registers(registered: Consumer) -> None:
    registered.branch("experiment")
    registered.replace("params.yaml", r"^(\s+max_iter:).*", r"\1 60")
    registered.commit("Try it")
    before = registered.git("--git-dir", ".mlops-local/origin.git", "rev-parse", "mlops-state")
    run = registered.happens("workflow_dispatch", workflow="train.yml")
    assert run.green
    assert verdict(run, "train") == "blessed"
    assert run.outputs["train"].get("version", "") == ""
    assert run.git("rev-parse", "mlops-state") == before
