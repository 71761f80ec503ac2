"""Metrics of the order of scores, each with the influence of every row.

An influence function says how much a little more weight on one row moves the metric; the sum of
squares of the contributions over independent units is the variance (Hampel 1974, JASA 69:383).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_actions.gate.statistics import delong
from mlops_actions.gate.statistics.scored import Undefined

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mlops_actions.gate.statistics.scored import Scored

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Booleans = NDArray[np.bool_]
    Rows = NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class Ranked:
    """A metric of order on m rows.

    Attributes:
        estimate: the metric.
        contributions: (m,) influence of each row, in the metric's unit; they sum to zero.
        positive: (m,) the positive rows of a metric of two classes, whose variances add up.
        share: (m,) each row's share of what the metric divides by, where that is not its weight.
        methods: names of the method for independent and for grouped rows.

    """

    estimate: float
    contributions: Floats
    positive: Booleans | None = None
    share: Floats | None = None
    methods: tuple[str, str] = ("linearised", "linearised by group")


def roc_auc(scored: Scored, rows: Rows) -> Ranked:
    """Return the area under the ROC curve of the positive class (see `delong`)."""
    positive = _take(scored.codes(), rows) == scored.positive
    found = delong.area(_ranks(scored, scored.positive, rows), positive, _weight(scored, rows))
    return Ranked(found.estimate, found.contributions, positive, methods=("DeLong", "Obuchowski"))


def average_precision(scored: Scored, rows: Rows) -> Ranked:
    """Return the average precision, of the positive class or as the mean over all classes.

    AP = sum over positive rows of precision at their score, divided by the number of positives;
    tied scores share one precision. The influence is the derivative of that expression.
    """
    codes, weight = _take(scored.codes(), rows), _weight(scored, rows)
    if len(scored.labels) == 2:  # noqa: PLR2004
        ranks = _ranks(scored, scored.positive, rows)
        return _average_precision(ranks, codes == scored.positive, weight)
    each = [
        _average_precision(_ranks(scored, k, rows), codes == k, weight)
        for k in _all_classes(scored, codes)
    ]
    return Ranked(
        float(np.mean([one.estimate for one in each])),
        np.mean([one.contributions for one in each], axis=0),
    )


def _average_precision(ranks: Integers, positive: Booleans, weight: Floats | None) -> Ranked:
    size = int(ranks.max()) + 1
    if size > 4 * len(ranks):
        ranks = delong.closer_ranks(ranks)
        size = int(ranks.max()) + 1
    every = np.bincount(ranks, weights=weight, minlength=size)
    hits = np.bincount(
        ranks[positive], weights=None if weight is None else weight[positive], minlength=size
    )
    positives = float(hits.sum())
    if positives <= 0:
        raise Undefined("the target has one class only")
    # At each rank, what has this score or a higher one.
    found = np.cumsum(hits[::-1])[::-1].astype(np.float64)
    seen = np.cumsum(every[::-1])[::-1].astype(np.float64)
    seen = np.where(seen == 0, 1, seen)  # Rows without weight at the top.
    precision = found / seen
    estimate = float((hits * precision).sum()) / positives
    gained = np.cumsum(hits / seen)
    lost = np.cumsum(hits * precision / seen)
    contributions = np.where(positive, (precision + gained - estimate)[ranks], 0.0) - lost[ranks]
    contributions /= positives
    share = positive / positives
    if weight is None:
        return Ranked(estimate, contributions, share=share)
    return Ranked(estimate, contributions * weight, share=share * weight)


def _one_against_rest(scored: Scored, rows: Rows, *, weighted: bool) -> Ranked:
    codes, weight = _take(scored.codes(), rows), _weight(scored, rows)
    ones = np.ones(len(codes)) if weight is None else weight
    total = float(ones.sum())
    estimate, contributions = 0.0, np.zeros(len(codes))
    classes = _all_classes(scored, codes)
    for k in classes:
        positive = codes == k
        one = delong.area(_ranks(scored, k, rows), positive, weight)
        share = float(ones[positive].sum()) / total if weighted else 1 / len(classes)
        estimate += share * one.estimate
        contributions += share * one.contributions
        if weighted:  # The shares are estimates, too.
            contributions += one.estimate * ones * (positive - share) / total
    return Ranked(estimate, contributions)


def _one_against_one(scored: Scored, rows: Rows, *, weighted: bool) -> Ranked:
    """Hand & Till 2001, Machine Learning 45:171: the mean over pairs of classes."""
    codes, weight = _take(scored.codes(), rows), _weight(scored, rows)
    ones = np.ones(len(codes)) if weight is None else weight
    total = float(ones.sum())
    classes = _all_classes(scored, codes)
    values, shares, influences = [], [], []
    for i in classes:
        for j in classes:
            if i == j:
                continue
            pair = np.flatnonzero((codes == i) | (codes == j))
            one = delong.area(
                _ranks(scored, i, rows)[pair],
                codes[pair] == i,
                None if weight is None else weight[pair],
            )
            values.append(one.estimate)
            shares.append(float(ones[pair].sum()) / total if weighted else 1.0)
            influences.append((pair, one.contributions))
    every = float(np.sum(shares))
    estimate = float(np.dot(shares, values) / every)
    contributions = np.zeros(len(codes))
    for value, share, (pair, influence) in zip(values, shares, influences, strict=True):
        contributions[pair] += share * influence / every
        if weighted:
            contributions[pair] += (value - estimate) * ones[pair] / (total * every)
    return Ranked(estimate, contributions)


def _all_classes(scored: Scored, codes: Integers) -> list[int]:
    """Return the positions of the labels, all of which must occur."""
    counts = np.bincount(codes, minlength=len(scored.labels))
    if not counts.all():
        missing = scored.labels[int(np.argmin(counts))]
        raise Undefined(f"the target has no row of the class {missing!r}")
    return list(range(len(scored.labels)))


MULTICLASS_AUC: dict[str, Callable[[Scored, Rows], Ranked]] = {
    "ovr": lambda scored, rows: _one_against_rest(scored, rows, weighted=False),
    "ovr_weighted": lambda scored, rows: _one_against_rest(scored, rows, weighted=True),
    "ovo": lambda scored, rows: _one_against_one(scored, rows, weighted=False),
    "ovo_weighted": lambda scored, rows: _one_against_one(scored, rows, weighted=True),
}


def median_absolute_error(scored: Scored, rows: Rows) -> Ranked:
    """Return the median absolute error.

    The density at the median, which its influence needs, is read from the width of the interval
    that the order statistics give (Woodruff 1952, JASA 47:635).
    """
    errors = np.abs(_take(scored.truth() - scored.numbers(), rows))
    weight = _weight(scored, rows)
    ones = np.ones(len(errors)) if weight is None else weight
    order = np.argsort(errors)
    ordered, share = errors[order], np.cumsum(ones[order]) / ones.sum()
    estimate = median(errors, weight)
    effective = ones.sum() ** 2 / (ones @ ones)
    reach = min(1.0 / np.sqrt(effective), 0.49)  # Two standard errors of a share of one half.
    low, high = (
        ordered[min(int(np.searchsorted(share, 0.5 + side)), len(errors) - 1)]
        for side in (-reach, reach)
    )
    sparsity = float(high - low) / (2 * reach)
    below = (errors <= estimate).astype(np.float64)
    below -= float(below @ ones) / ones.sum()
    return Ranked(estimate, -sparsity * below * ones / ones.sum())


def median(values: Floats, weight: Floats | None) -> float:
    """Return the median (n,), the middle of two where the weights on both sides are equal."""
    if weight is None:
        return float(np.median(values))
    values, weight = values[weight > 0], weight[weight > 0]
    order = np.argsort(values)
    below = np.cumsum(weight[order])
    # Sums of weights that are half of the whole but for rounding are half of it.
    half, rounding = below[-1] / 2, 1e-12 * below[-1]
    place = min(int(np.searchsorted(below, half - rounding)), len(values) - 1)
    found = values[order[place]]
    if below[place] <= half + rounding and place + 1 < len(values):
        found = (found + values[order[place + 1]]) / 2
    return float(found)


def _ranks(scored: Scored, k: int, rows: Rows) -> Integers:
    ranks = scored.kept(f"ranks {k}", lambda: delong.dense_ranks(scored.probabilities()[:, k]))
    return _take(ranks, rows)


def _weight(scored: Scored, rows: Rows) -> Floats | None:
    weight = scored.weights()
    return None if weight is None else _take(weight, rows)


def _take(values: NDArray[Any], rows: Rows) -> NDArray[Any]:
    return values if rows is None else values[rows]
