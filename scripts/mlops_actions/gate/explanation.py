"""What a model listens to: how much worse it answers when a column is permuted.

Permutation importance (Breiman 2001, Machine Learning 45:5; Fisher, Rudin & Dominici 2019, JMLR
20:177). Its interval is the paired one of the metric, of the same rows with and without the
permutation; repeats of a row belong together. Columns that say the same share their importance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mlops_actions.config import Config
from mlops_actions.errors import Failure
from mlops_actions.evidence import Check, check
from mlops_actions.gate.assessment import Policy
from mlops_actions.gate.decision import Extra
from mlops_actions.gate.predictions import Unfit, codes
from mlops_actions.gate.probed import Answers, read_answers, read_frame
from mlops_actions.gate.rows import Chosen
from mlops_actions.gate.statistics.comparison import Undefined, compare
from mlops_actions.gate.statistics.intervals import Estimate
from mlops_actions.gate.statistics.scored import Scored
from mlops_actions.probe import BASE, COLUMN, PLAN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Bounds = tuple[float, float, float]  # Estimate, low, high.


def judge(policy: Policy, folder: Path, keys: Path) -> Extra:
    """Measure the importance of every column, and whether one dominates.

    Args:
        policy: the one in force.
        folder: with the changed rows' plan and the models' answers.
        keys: the evaluation set's file of targets, groups and weights.

    """
    config = policy.config
    asked = config.gate.explanation
    if asked is None:
        return Extra()
    chosen = next(
        item for item in policy.chosen if item.name == asked.metric or asked.metric is None
    )
    name = "explanation: largest share of importance"
    try:
        plan = read_frame(folder / PLAN, "The plan of changed rows")
        if plan.columns != ["case", "id"]:
            raise Failure("The plan of changed rows is not one of ours.")
        mine = _importance(config, chosen, folder / "candidate.parquet", plan, keys)
    except Failure as problem:
        message = f"What the candidate listens to is not known: {problem.message}"
        return Extra(checks=[check(name, "inconclusive", message=message)])
    try:
        other = _importance(config, chosen, folder / "champion.parquet", plan, keys)
    except Failure:
        other = {}  # It explains the change; nothing is decided on it.
    shares = _shares(mine)
    found = Extra(sections={"explanation": _section(config, chosen.name, mine, other, shares)})
    if asked.max_importance_share is not None:
        most = asked.max_importance_share
        found.checks.append(_dominates(name, shares, most))
        alone = {
            column: values if values == max(mine.values()) else (0.0, 0.0, 0.0)
            for column, values in mine.items()
        }
        noticed = _dominates(name, _shares(alone), most)["status"] != "pass"
        found.mutants.append(("a model that listens to one column only", noticed))
    return found


def _importance(
    config: Config, chosen: Chosen, path: Path, plan: pl.DataFrame, keys: Path
) -> dict[str, Bounds]:
    """Give by column how much is lost when it is permuted, with bounds.

    Raises :class:`Failure` where answers or targets are missing or the metric does not exist.
    """
    side = path.stem
    answers = read_answers(path, config, plan.height, side)
    names = plan["case"].to_numpy()
    base = np.flatnonzero(names == BASE)
    permuted = sorted({name for name in names if name.startswith(COLUMN)})
    if not permuted or not len(base):
        raise Failure("no column was permuted.")
    truth = _truth(config, keys)
    found = {}
    for name in permuted:
        rows = np.flatnonzero(names == name)
        count = config.gate.explanation.rows if config.gate.explanation else len(base)
        first = base[: min(count, len(base))]
        if len(rows) % len(first):
            raise Failure(f"the plan has {len(rows)} rows of {name} for {len(first)}.")
        whole = np.tile(first, len(rows) // len(first))
        if not (plan["id"].gather(rows) == plan["id"].gather(whole)).all():
            raise Failure(f"the rows of {name} are in another order.")
        matched = truth.align(plan["id"].gather(whole))
        before, after = (
            _scored(config, answers[part], matched, len(first)) for part in (whole, rows)
        )
        try:
            loss = compare(
                chosen.metric,
                before,
                after,
                confidence=config.gate.confidence,
                resamples=1_000,
                seed=config.gate.seed,
            ).gain(greater_is_better=chosen.greater)
        except Undefined as problem:
            raise Failure(f"{chosen.name}: {problem.reason}.") from None
        found[name.removeprefix(COLUMN)] = _bounds(loss)
    return found


def _bounds(found: Estimate) -> Bounds:
    return found.estimate, found.low, found.high


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Truth:
    """Target, group and weight of every row of the evaluation set, by id."""

    frame: pl.DataFrame

    def align(self, ids: pl.Series) -> pl.DataFrame:
        """Give them in the order of these ids."""
        wanted = pl.DataFrame({"id": ids})
        try:
            found = wanted.join(self.frame, on="id", how="left", maintain_order="left")
        except pl.exceptions.PolarsError:
            raise Failure("ids of changed rows have another type.") from None
        if found.height != wanted.height or found["target"].null_count():
            raise Failure("a changed row is none of the evaluation set's.")
        return found


def _truth(config: Config, keys: Path) -> _Truth:
    frame = read_frame(keys, "The evaluation set")
    named = {"id": config.id, "target": config.target, "group": config.group}
    named["weight"] = config.weight
    return _Truth(
        frame=frame.select(
            pl.col(own).alias(name) for name, own in named.items() if own is not None
        )
    )


def _scored(config: Config, answers: Answers, truth: pl.DataFrame, rows: int) -> Scored:
    labels = tuple(config.labels or ())
    target, prediction = truth["target"].to_numpy(), answers.prediction
    if labels:
        try:
            target = codes(truth["target"], labels, "target")
            prediction = codes(pl.Series(prediction.tolist()), labels, "prediction")
        except Unfit as problem:
            raise Failure(problem.message) from None
    if "group" in truth.columns:
        if truth["group"].null_count():
            raise Failure("rows of the evaluation set have no group.")
        group = truth["group"].rank("dense").to_numpy().astype(np.int64) - 1
    else:  # Repeats of a row belong together.
        group = np.arange(len(target)) % rows
    return Scored(
        target=target,
        prediction=prediction,
        probability=answers.probability,
        labels=labels,
        positive=answers.positive,
        weight=truth["weight"].to_numpy() if "weight" in truth.columns else None,
        group=group,
    )


def _shares(found: Mapping[str, Bounds]) -> dict[str, Bounds]:
    """Give each column's share of all importance.

    The bounds are wide on purpose: the column's lower bound against the others' upper ones, and
    the other way round. Importance below zero counts as none.
    """
    shares = {}
    for name, (estimate, low, high) in found.items():
        rest = [values for other, values in found.items() if other != name]
        sums = [sum(max(values[place], 0.0) for values in rest) for place in range(3)]
        shares[name] = (
            _share(estimate, sums[0]), _share(low, sums[2]), _share(high, sums[1]),
        )  # fmt: skip
    return shares


def _share(mine: float, rest: float) -> float:
    mine = max(mine, 0.0)
    return mine / (mine + rest) if mine + rest > 0 else 0.0


def _dominates(name: str, shares: Mapping[str, Bounds], most: float) -> Check:
    """Check, as a guardrail does, that no column is shown to have more than its share."""
    column, (estimate, low, high) = max(shares.items(), key=lambda item: item[1][0])
    worst = max(shares.items(), key=lambda item: item[1][1])
    if worst[1][1] > most:
        column, (estimate, low, high) = worst
        message = (
            f"{column} has {estimate:.0%} of all importance (interval {low:.0%} to {high:.0%}); at "
            f"most {most:.0%} is allowed."
        )
        return check(name, "fail", estimate, most, message, low=low, high=high, column=column)
    if not any(values[0] > 0 for values in shares.values()):
        message = "No column matters: permuting any of them changes nothing."
        return check(name, "inconclusive", estimate, most, message)
    return check(name, "pass", estimate, most, low=low, high=high, column=column)


def _section(
    config: Config,
    metric: str,
    mine: Mapping[str, Bounds],
    other: Mapping[str, Bounds],
    shares: Mapping[str, Bounds],
) -> dict[str, Any]:
    def numbers(values: Bounds | None) -> dict[str, float] | None:
        return (
            None if values is None else dict(zip(("estimate", "low", "high"), values, strict=True))
        )

    def change(name: str) -> float:
        return mine[name][0] - other[name][0] if name in other else 0.0

    ranked = sorted(mine, key=lambda name: -mine[name][0])
    moved = sorted(mine, key=lambda name: -abs(change(name)))
    return {
        "metric": metric,
        "rows": config.gate.explanation.rows if config.gate.explanation else None,
        "columns": [
            {
                "column": name,
                "candidate": numbers(mine[name]),
                "champion": numbers(other.get(name)),
                "share": numbers(shares[name]),
            }
            for name in ranked
        ],
        "moved": [{"column": name, "change": change(name)} for name in moved[:5] if other],
    }
