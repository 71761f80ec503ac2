"""ROC-AUC and its variance, for paired, grouped and weighted rows.

DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; computed from ranks in O(n log n) as in
Sun & Xu 2014, IEEE Signal Processing Letters 21:1389; for rows in groups Obuchowski 1997,
Biometrics 53:567, which is the same where every row is a group of its own. Weights enter as they do
in the point estimate: a pair of rows counts the product of their weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlops_actions.gate.statistics.intervals import spread
from mlops_actions.gate.statistics.scored import Undefined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Booleans = NDArray[np.bool_]


ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Area:
    """A ROC-AUC.

    Attributes:
        estimate: share of (positive, negative) pairs in the right order, ties counted half.
        contributions: (n,) each row's influence; those of the positive and those of the negative
            rows both sum to zero.

    """

    estimate: float
    contributions: Floats


def dense_ranks(scores: Floats) -> Integers:
    """Return for each score (n,) its place 0 … r-1 among the distinct scores."""
    order = np.argsort(scores)
    ordered = scores[order]
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])[: len(scores)]
    return ranks


def area(ranks: Integers, positive: Booleans, weight: Floats | None) -> Area:
    """Return the area under the ROC curve.

    Args:
        ranks: (n,) whole numbers in the order of the scores, equal for equal scores.
        positive: (n,) whether a row is of the positive class.
        weight: (n,) weights, or None.

    Raises:
        Undefined: there are no positive or no negative rows, or they weigh nothing.

    """
    size = int(ranks.max()) + 1 if len(ranks) else 0
    if size > 4 * len(ranks):
        # A small slice of a large set: its own ranks, to not walk over all of the set's.
        ranks = closer_ranks(ranks)
        size = int(ranks.max()) + 1
    above = np.bincount(
        ranks[positive], weights=None if weight is None else weight[positive], minlength=size
    ).astype(np.float64)
    below = np.bincount(
        ranks[~positive], weights=None if weight is None else weight[~positive], minlength=size
    ).astype(np.float64)
    positives, negatives = above.sum(), below.sum()
    if positives <= 0 or negatives <= 0:
        raise Undefined("the target has one class only")
    # At each rank: the share of the other class that is in the right order with a row there.
    lower = np.cumsum(below) - below / 2
    higher = positives - np.cumsum(above) + above / 2
    estimate = float((above * lower).sum() / (positives * negatives))
    placement = np.where(
        positive,
        (lower[ranks] / negatives - estimate) / positives,
        (higher[ranks] / positives - estimate) / negatives,
    )
    return Area(estimate, placement if weight is None else placement * weight)


def closer_ranks(ranks: Integers) -> Integers:
    """Return dense ranks of some rows (m,) of a larger set, given their ranks in it."""
    present = np.zeros(int(ranks.max()) + 1, dtype=bool)
    present[ranks] = True
    closer: Integers = (np.cumsum(present) - 1)[ranks]
    return closer


def variance(
    contributions: Floats, positive: Booleans, weight: Floats | None, group: Integers | None
) -> tuple[float, float]:
    """Return standard error and degrees of freedom of an area, or of a difference of areas.

    Each class's sum of a group is divided by the share of the class outside the group, as a
    jackknife does; for groups of one size these are Obuchowski's factors g/(g - 1), and for groups
    of one row DeLong's m/(m - 1).

    Args:
        contributions: (n,) an area's, or the difference of two areas' on the same rows.
        positive: (n,) whether a row is of the positive class.
        weight: (n,) weights of the rows, or None.
        group: (n,) codes of groups of rows, or None.

    Raises:
        Undefined: a class has fewer than two rows, or occurs in fewer than two groups.

    """
    if group is None:
        return _welch(
            *_rows_left_out(contributions, positive, weight),
            *_rows_left_out(contributions, ~positive, weight),
        )
    first, first_size = _groups_left_out(contributions, positive, weight, group)
    second, second_size = _groups_left_out(contributions, ~positive, weight, group)
    groups = np.flatnonzero(np.bincount(group))
    count = len(groups)
    total = (
        float(first @ first) * (first_size - 1) / first_size
        + float(second @ second) * (second_size - 1) / second_size
        + 2 * float(first @ second) * (count - 1) / count
    )
    _, degrees = spread((first + second)[groups])
    return float(np.sqrt(max(total, 0.0))), degrees


def _rows_left_out(
    contributions: Floats, side: Booleans, weight: Floats | None
) -> tuple[float, float]:
    """Return standard error and degrees of freedom of one class's rows."""
    values = contributions[side]
    share = np.ones(len(values)) if weight is None else weight[side]
    left = 1 - share / share.sum()
    if len(values) < 2 or left.min() <= ROUNDING:  # noqa: PLR2004
        raise Undefined("a class has fewer than two rows")
    return spread(values / left)


def _groups_left_out(
    contributions: Floats, side: Booleans, weight: Floats | None, group: Integers
) -> tuple[Floats, int]:
    """Return each group's contribution (g,) to one class, and in how many groups it occurs."""
    size = int(group.max()) + 1
    codes = group[side]
    share = np.ones(len(codes)) if weight is None else weight[side]
    left = 1 - np.bincount(codes, share / share.sum(), minlength=size)
    count = int(np.count_nonzero(np.bincount(codes, minlength=size)))
    if count < 2 or left.min() <= ROUNDING:  # noqa: PLR2004
        raise Undefined("a class occurs in fewer than two groups")
    return np.bincount(codes, contributions[side], minlength=size) / left, count


def _welch(
    first: float, first_degrees: float, second: float, second_degrees: float
) -> tuple[float, float]:
    """Return the standard error of a sum and its degrees of freedom (Satterthwaite 1946)."""
    total = first**2 + second**2
    if total == 0:
        return 0.0, first_degrees + second_degrees
    degrees = total**2 / (first**4 / first_degrees + second**4 / second_degrees)
    return float(np.sqrt(total)), degrees
