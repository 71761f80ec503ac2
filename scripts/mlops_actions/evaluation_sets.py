"""Which evaluation sets an event is about."""

from __future__ import annotations

from mlops_actions import github
from mlops_actions.config import EvaluationSet, Project


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
