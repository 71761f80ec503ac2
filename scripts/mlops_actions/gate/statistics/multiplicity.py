"""Many questions at once: corrected p-values, simultaneous intervals, and what can be noticed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import ndtri

from mlops_actions.gate.statistics.intervals import student_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlops_actions.gate.statistics.intervals import Estimate, Influence

    Floats = NDArray[np.float64]

BUCKETS = 1 << 16
"""Units told apart in correlations, which bounds memory to half a megabyte an estimate."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two of several estimates compared, with a simultaneous interval.

    Attributes:
        first: position of the one.
        second: position of the other.
        estimate: first minus second, or first / second.
        low: lower bound; all contrasts of a family hold together at the family's confidence.
        high: upper bound; infinite for a ratio to something that may be zero.
        standard_error: of the difference of the two.

    """

    first: int
    second: int
    estimate: float
    low: float
    high: float
    standard_error: float


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that rejecting those below alpha errs at most with alpha.

    Holm 1979, Scandinavian Journal of Statistics 6:65. Any dependence between them is allowed. The
    order stays that of the input.

    Raises:
        ValueError: a p-value is not in [0, 1].

    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("a p-value is not between 0 and 1")
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def simultaneous(
    estimates: Sequence[Estimate],
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """Return intervals (low, high) that hold the truth all together with the given confidence.

    The estimates must have their influences (`compare(…, influence=True)`). Each interval is the
    estimate's own curve, read at the quantile of the largest |t| (see `critical_score`).
    """
    score = critical_score(estimates, confidence=confidence, resamples=resamples, seed=seed)
    return [
        (min(one.curve.value(-score), one.estimate), max(one.curve.value(score), one.estimate))
        for one in estimates
    ]


def critical_score(
    estimates: Sequence[Estimate], *, confidence: float, resamples: int = 10_000, seed: int = 0
) -> float:
    """Return the normal score that the largest of all |t| stays below with this confidence.

    The multiplier bootstrap (Chernozhukov, Chetverikov & Kato 2013, Annals of Statistics 41:2786)
    with normal multipliers: given the data, the multiplied sums of influences are exactly normal
    with the influences' covariance, from which they are drawn. Simultaneous over any overlap of
    slices, and never wider than Bonferroni but for the noise of the draws.
    """
    if not estimates:
        return float(-ndtri((1 - confidence) / 2))
    draws = _normal_draws(correlation(_influences(estimates)), resamples, seed)
    largest = np.abs(draws).max(axis=1)
    return float(np.quantile(largest, confidence))


def pairwise(
    estimates: Sequence[Estimate],
    *,
    scale: Literal["difference", "ratio"] = "difference",
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Contrast]:
    """Return every pair's difference or ratio, with intervals that hold all together.

    For the gaps between groups of people: a largest difference is biased upward, its own interval
    therefore never right; a family of intervals of all differences is. Max-|t| as in
    `critical_score` (Tukey's idea for any covariance: Hothorn, Bretz & Westfall 2008, Biometrical
    Journal 50:346). Ratios are Fieller's (1954, JRSS B 16:175), which stay valid when a group's
    number is near zero, with the critical value at the estimated ratios (Dilba, Bretz & Guiard
    2006, Journal of Statistical Planning and Inference 136:2640).

    Args:
        estimates: k estimates with influences, of disjoint or overlapping slices of one set.
        scale: what to compare.
        confidence: of all intervals together.
        resamples: number of draws.
        seed: of the draws.

    """
    pairs = list(combinations(range(len(estimates)), 2))
    if not pairs:
        return []
    related = correlation(_influences(estimates))
    errors = np.array([one.standard_error for one in estimates])
    covariance = related * np.outer(errors, errors)
    draws = _normal_draws(related, resamples, seed) * errors
    largest = np.zeros(resamples)
    for i, j in pairs:
        a, b = estimates[i].estimate, estimates[j].estimate
        times = a / b if scale == "ratio" and b else 1.0
        spread = _spread(covariance, i, j, times)
        if spread > 0:
            np.maximum(largest, np.abs(draws[:, i] - times * draws[:, j]) / spread, out=largest)
    score = float(np.quantile(largest, confidence))
    degrees = min((one.degrees_of_freedom or np.inf) for one in estimates)
    critical = student_quantile(score, degrees)
    found = []
    for i, j in pairs:
        a, b, spread = estimates[i].estimate, estimates[j].estimate, _spread(covariance, i, j)
        if scale == "difference":
            number, low, high = a - b, a - b - critical * spread, a - b + critical * spread
        else:
            number = a / b if b else (np.inf if a else 1.0)
            low, high = _fieller(a, b, covariance[np.ix_((i, j), (i, j))], critical)
        found.append(
            Contrast(first=i, second=j, estimate=number, low=low, high=high, standard_error=spread)
        )
    return found


def _spread(covariance: Floats, i: int, j: int, times: float = 1.0) -> float:
    """Return the standard error of one estimate minus some times another."""
    square = covariance[i, i] + times**2 * covariance[j, j] - 2 * times * covariance[i, j]
    return float(np.sqrt(max(square, 0.0)))


def detectable_loss(difference: Estimate, margin: float, alpha: float, power: float = 0.8) -> float:
    """Return the smallest loss that a guardrail with this margin would notice.

    A guardrail fails when a loss beyond `margin` is shown at the one-sided level `alpha` (after
    any correction). It does so with the probability `power` when the true loss is the margin plus
    the sum of both quantiles times the standard error.

    Args:
        difference: candidate minus champion.
        margin: tolerated loss, not negative, in the metric's unit.
        alpha: one-sided level at which the test is made.
        power: wanted probability of noticing.

    """
    degrees = difference.degrees_of_freedom or np.inf
    return margin + shortfall(difference.standard_error, degrees, alpha, power)


def shortfall(error: float, degrees: float, alpha: float, power: float = 0.8) -> float:
    """Return how far beyond a bound the truth must lie to be noticed.

    Args:
        error: standard error of the number that is tested.
        degrees: of freedom; infinite for a normal one.
        alpha: one-sided level of the test.
        power: wanted probability of noticing.

    """
    level = student_quantile(float(-ndtri(alpha)), degrees)
    return (level + student_quantile(float(ndtri(power)), degrees)) * error


def correlation(influences: Sequence[Influence]) -> Floats:
    """Return the correlation (k, k) of k estimates, from the influences they share.

    An estimate that no unit moves is taken as independent of the others. More than `BUCKETS` units
    are folded onto each other with random signs, which leaves an error of 0.004 (the count sketch:
    Charikar, Chen & Farach-Colton 2002, ICALP, LNCS 2380:693).
    """
    last = max((int(one.units.max()) for one in influences if len(one.units)), default=-1)
    folded = np.zeros((len(influences), min(BUCKETS, last + 1)))
    signs = None
    if last >= BUCKETS:
        signs = np.random.default_rng(0).integers(0, 2, last + 1, dtype=np.int8) * 2.0 - 1.0
    for row, one in enumerate(influences):
        if signs is None:
            folded[row, one.units] = one.values
        else:
            folded[row] = np.bincount(
                one.units % BUCKETS, one.values * signs[one.units], minlength=BUCKETS
            )
    lengths = np.sqrt(np.square(folded).sum(axis=1, keepdims=True))
    folded /= np.where(lengths > 0, lengths, 1.0)
    related: Floats = folded @ folded.T
    np.fill_diagonal(related, 1.0)
    return related


def _influences(estimates: Sequence[Estimate]) -> list[Influence]:
    found = [one.influence for one in estimates if one.influence is not None]
    if len(found) < len(estimates):
        raise ValueError("an estimate has no influence; ask `compare` for it")
    return found


def _normal_draws(related: Floats, resamples: int, seed: int) -> Floats:
    """Return draws (resamples, k) of normal numbers with this correlation (k, k)."""
    sizes, directions = np.linalg.eigh(related)
    root = directions * np.sqrt(np.clip(sizes, 0, None))
    draws: Floats = np.random.default_rng(seed).standard_normal((resamples, len(related))) @ root.T
    return draws


def _fieller(a: float, b: float, covariance: Floats, critical: float) -> tuple[float, float]:
    """Return the bounds of a/b, both not negative: all r with |a - r b| within its error."""
    square = critical**2
    lead = b * b - square * covariance[1, 1]
    middle = a * b - square * covariance[0, 1]
    last = a * a - square * covariance[0, 0]
    root = float(np.sqrt(max(middle * middle - lead * last, 0.0)))
    if lead > 0:
        return max((middle - root) / lead, 0.0), (middle + root) / lead
    # The denominator may be zero: no upper bound, and a lower one only if the numerator may not.
    if last <= 0:
        return 0.0, np.inf
    return max(last / (middle + root), 0.0) if middle + root > 0 else 0.0, np.inf
