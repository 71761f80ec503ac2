"""What an event is about: which evaluation sets, and which training."""

from __future__ import annotations

from mlops_actions import github
from mlops_actions.config import EvaluationSet, Project

FULL_TRAINING = "full-training"  # The label that asks for a full run on a pull request.


def needed_sets(project: Project) -> list[EvaluationSet]:
    """Choose the evaluation sets that this event is judged on: ``release`` on the default branch.

    The frozen set ``regression`` goes with either, where there is one.
    """
    first: EvaluationSet = "release" if github.event().on_default_branch else "development"
    data = project.config.data
    if data.shared_evaluation or data.evaluation_path("regression") is None:
        return [first]
    return [first, "regression"]


def prepared_sets(project: Project) -> list[EvaluationSet]:
    """Choose the evaluation sets to check and to predict: those that decide, and ``development``.

    Pull requests then find the predictions of a registered version, and see its rows shrink.
    """
    deciding = needed_sets(project)
    data = project.config.data
    if data.shared_evaluation or "development" in deciding:
        return deciding
    return [*deciding, "development"]


def training_mode(loaded: Project) -> str:
    """``smoke`` on a pull request that asks for no more, else ``full``."""
    event = github.event()
    if event.pull_request is None or loaded.config.pull_request == "full":
        return "full"
    return "full" if FULL_TRAINING in event.labels else "smoke"
