"""The verdict of a smoke run: ``passed`` or ``failed``, never ``blessed``.

Point values, not intervals: a sample looks for breakage, and a floor is not a statistical claim.
"""

from __future__ import annotations

import math
from typing import Any

from mlops_actions import evidence
from mlops_actions.config import Project
from mlops_actions.gate import predictions
from mlops_actions.gate.handover import Handover
from mlops_actions.gate.predictions import SetInput
from mlops_actions.gate.statistics.comparison import Undefined, compare
from mlops_actions.gate.statistics.metrics import Metric, UnknownMetric, lookup
from mlops_actions.scope import needed_sets
from mlops_actions.score import OF_BASE_BRANCH


def metric_of(loaded: Project) -> Metric | None:
    """Look up ``smoke.metric``, if there is a section smoke.

    Raises :class:`ConfigurationError` at its line when it does not exist, or reads a column of the
    predictions that a smoke run has not.
    """
    settings, config = loaded.config.smoke, loaded.config
    if settings is None:
        return None
    try:
        metric = lookup(
            settings.metric, config.task, classes=len(config.labels) if config.labels else None
        )
    except UnknownMetric as problem:
        raise loaded.error(str(problem), "smoke", "metric") from None
    if not metric.needs <= {"prediction", "probability"}:
        raise loaded.error(
            f"A smoke run cannot judge {settings.metric}: it reads predictions or probabilities.",
            "smoke",
            "metric",
        )
    return metric


def judge_smoke(
    loaded: Project, received: Handover
) -> tuple[str, list[evidence.Check], dict[str, Any]]:
    """Compare the sampled model with the floor and with the base branch's.

    Gives the verdict, its checks, and keys of the predicate.
    """
    settings = loaded.config.smoke
    assert settings is not None  # noqa: S101 - the configuration requires the section.
    name = needed_sets(loaded)[0]
    folder = received.folder / "predictions" / name
    base = folder / OF_BASE_BRANCH
    metric = metric_of(loaded)
    assert metric is not None  # noqa: S101 - as above.
    greater = metric.greater_is_better is not False
    paired = predictions.read(
        name,
        SetInput(
            candidate=folder / "candidate.parquet",
            champion=base if base.is_file() else None,
            evaluation=received.folder / received.data["evaluation"][name]["keys"]["file"],
        ),
        loaded.config,
        columns=[],
        probability="probability" in metric.needs,
        quantiles=[],
        losses=[],
    )
    checks = [_of_base(item) for item in paired.checks]
    value = loss = None
    if paired.candidate is not None and not any(c["status"] == "fail" for c in checks):
        try:
            found = compare(metric, paired.candidate, paired.champion)
            value = found.candidate.estimate
            if found.difference is not None:
                change = found.difference.estimate
                loss = -change if greater else change
        except Undefined as problem:
            checks.append(evidence.check("smoke.metric", "fail", message=str(problem)))
    if value is not None:
        better = value > settings.floor if greater else value < settings.floor
        said = f"{settings.metric} is {value:.4g}; smoke.floor is {settings.floor:g}."
        ok = better and math.isfinite(value)
        checks.append(_bound("smoke.floor", value, settings.floor, said, ok=ok))
    unsaid = evidence.check("base_branch", "inconclusive", message="training does not say why")
    said_of_base = (one for one in received.trained["checks"] if one["name"] == unsaid["name"])
    told = next(said_of_base, unsaid)
    if told["status"] == "pass":
        worse = math.nan if loss is None else loss
        said = (
            f"{settings.metric} is {worse:.4g} worse than the base branch's on the same sample; "
            f"smoke.max_loss is {settings.max_loss:g}."
        )
        ok = settings.max_loss is not None and worse <= settings.max_loss
        checks.append(_bound("smoke.max_loss", loss, settings.max_loss, said, ok=ok))
    else:
        why = told.get("message")
        checks.append(evidence.check("smoke.max_loss", told["status"], message=why))
    verdict = "passed" if all(c["status"] in {"pass", "skipped"} for c in checks) else "failed"
    warning = (
        f"A smoke run on a {settings.sample:.0%} sample: it looks for breakage and blesses "
        "nothing. The label full-training asks for the full gate."
    )
    warnings = [warning]
    if told["status"] != "pass" and told.get("message"):
        warnings.append(f"Not compared with the base branch: {told['message']}.")
    return verdict, checks, {"mode": "smoke", "warnings": warnings}


def _of_base(item: evidence.Check) -> evidence.Check:
    """Say of the base branch what is said of a champion, in whose place it stands here."""
    if item["status"] != "fail" or item.get("side") != "champion":
        return item
    said = item.get("message", "").replace("champion", "base branch's model")
    advice = "A smoke run cannot compare a change of the rows; the label full-training can."
    return item | {"message": f"{said} {advice}"}


def _bound(
    name: str, observed: float | None, required: float | None, said: str, *, ok: bool
) -> evidence.Check:
    status: evidence.Status = "pass" if ok else "fail"
    return evidence.check(name, status, observed, required, None if ok else said)
