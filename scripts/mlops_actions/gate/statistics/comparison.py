"""The paired comparison of two models by one metric.

`compare` gives the metric of the candidate, of the champion and their difference, each with an
interval; the method depends on the metric's family (see `metrics`):

- counts: `tables` (half a count a cell, sampled);
- functions of means: `means` (ABC, the analytic BCa; for weighted or grouped rows the jackknife);
- ROC-AUC: `delong`; other metrics of order: `ranking`, linearised, with t quantiles.

Rows in groups are never taken as independent, and weights count throughout. What has no answer
raises `Undefined`; no number is made up.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_actions.gate.statistics import means, order, tables
from mlops_actions.gate.statistics.intervals import Estimate, Influence
from mlops_actions.gate.statistics.metrics import Metric, Ranks, Scored, Sums, Undefined
from mlops_actions.gate.statistics.sample import Estimates, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Comparison", "Estimate", "Influence", "Undefined", "compare"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A metric of two models on the same rows.

    Attributes:
        metric: what was compared.
        rows: number of rows.
        units: number of independent units: of groups, or of rows where there are no groups.
        candidate: the candidate's metric.
        champion: the champion's, or None without a champion.
        difference: candidate minus champion, in the metric's own direction.
        relative: candidate / champion - 1, where it was asked for.

    """

    metric: Metric
    rows: int
    units: int
    candidate: Estimate
    champion: Estimate | None = None
    difference: Estimate | None = None
    relative: Estimate | None = None

    def gain(self, *, greater_is_better: bool | None = None) -> Estimate:
        """Return the difference with the sign that makes more better.

        `greater_is_better` is needed for the user's own losses only.

        Raises:
            ValueError: there is no champion, or the direction is not known.

        """
        if self.difference is None:
            raise ValueError("there is no champion to differ from")
        greater = self.metric.greater_is_better
        if greater is None:
            greater = greater_is_better
        if greater is None:
            raise ValueError(f"the direction of {self.metric.name} is not known")
        return self.difference if greater else self.difference.negated()


def compare(
    metric: Metric,
    candidate: Scored,
    champion: Scored | None = None,
    *,
    rows: NDArray[Any] | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    relative: bool = False,
    influence: bool = False,
) -> Comparison:
    """Compare two models by one metric.

    Args:
        metric: from `metrics.lookup`.
        candidate: its answers on n rows.
        champion: the other's on the same rows in the same order, or None. Target, weight and group
            are read from the candidate's side.
        rows: the rows to judge, as positions (m,), each once, or as a mask (n,); None for all.
            What can be computed once for all rows is kept in `candidate` and `champion` for the
            next slice.
        confidence: level of the two-sided intervals.
        resamples: number of draws where a method draws.
        seed: of the draws; the same seed gives the same numbers, whatever was compared before.
        relative: also give the relative change.
        influence: also give the influence of each unit, on the difference where there is a
            champion and on the candidate where there is none.

    Raises:
        Undefined: the metric or its uncertainty does not exist on these rows.

    """
    positions = _positions(rows, len(candidate))
    weight, group = candidate.weights(), candidate.groups()
    sample = Sample(
        rows=positions,
        count=len(candidate) if positions is None else len(positions),
        weight=weight if weight is None or positions is None else weight[positions],
        group=group if group is None or positions is None else group[positions],
        confidence=confidence,
        resamples=resamples,
        random=np.random.default_rng([seed, zlib.crc32(metric.name.encode())]),
        same=champion is not None and _same(candidate, champion),
        relative=relative,
        influence=influence,
    )
    units = _check(metric, candidate, champion, sample)
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = _estimates(metric, candidate, champion, sample)
    except (ArithmeticError, np.linalg.LinAlgError):
        raise Undefined("its numbers are too large or too small to be computed with") from None
    first, second, difference, ratio = found
    if metric.negated:
        first = first.negated()
        second = second.negated() if second else None
        difference = difference.negated() if difference else None
    return Comparison(
        metric=metric,
        rows=sample.count,
        units=units,
        candidate=first,
        champion=second,
        difference=difference,
        relative=ratio,
    )


def _estimates(
    metric: Metric, candidate: Scored, champion: Scored | None, sample: Sample
) -> Estimates:
    low, high = metric.bounds
    bounds = (-high, -low) if metric.negated else (low, high)
    family = metric.family
    if isinstance(family, Sums):
        return means.estimates(family, candidate, champion, sample, bounds)
    if isinstance(family, Ranks):
        return order.estimates(family, candidate, champion, sample, bounds)
    return tables.estimates(family, candidate, champion, sample, bounds)


def _same(candidate: Scored, champion: Scored) -> bool:
    """Return whether both gave the same answers to every row, whatever they were asked for."""
    pairs = [
        (candidate.prediction, champion.prediction),
        (candidate.probability, champion.probability),
    ]
    levels = candidate.quantiles.keys() | champion.quantiles.keys()
    pairs.extend((candidate.quantiles.get(q), champion.quantiles.get(q)) for q in levels)
    names = candidate.losses.keys() | champion.losses.keys()
    pairs.extend((candidate.losses.get(name), champion.losses.get(name)) for name in names)
    for one, other in pairs:
        if one is None and other is None:
            continue
        if one is None or other is None:
            return False
        # Models that differ do so early: most often the whole need not be read.
        if not np.array_equal(one[:1000], other[:1000]) or not np.array_equal(one, other):
            return False
    return True


def _positions(rows: NDArray[Any] | None, count: int) -> NDArray[np.int64] | None:
    if rows is None:
        return None
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if len(rows) != count:
            raise ValueError(f"a mask of {len(rows)} for {count} rows")
        return np.flatnonzero(rows)
    return rows.astype(np.int64, copy=False)


def _check(metric: Metric, candidate: Scored, champion: Scored | None, sample: Sample) -> int:
    """Refuse what has no answer; return the number of independent units."""
    if sample.count == 0:
        raise Undefined("there are no rows")
    if champion is not None and len(champion) != len(candidate):
        raise Undefined("candidate and champion have different rows")
    if sample.weight is not None and not sample.weight.sum() > 0:
        raise Undefined("the weights sum to zero")
    units = len(sample.units)
    if units < 2:  # noqa: PLR2004
        what = "row" if sample.group is None else "group"
        raise Undefined(f"there is one {what} only, which says nothing of the next")
    if "classification" in metric.tasks and metric.both_classes:
        if metric.classes == "binary" and len(candidate.labels) != 2:  # noqa: PLR2004
            raise Undefined(f"{metric.name} needs two labels, not {len(candidate.labels)}")
        codes = sample.pick(candidate.codes())
        if codes.min() == codes.max():
            raise Undefined("the target has one class only")
    return units
