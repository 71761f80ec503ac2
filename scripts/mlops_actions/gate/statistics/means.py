"""Smooth functions of means: bias-corrected and accelerated intervals without resampling.

The ABC method (DiCiccio & Efron 1992, Biometrika 79:231; DiCiccio & Efron 1996, Statistical
Science 11:189, section 4) is the analytic form of the BCa bootstrap (Efron 1987, JASA 82:171): the
same second-order accuracy, from derivatives in place of resamples. Where it takes normal quantiles
this takes t quantiles, since with few groups the standard error itself is uncertain.
Weighted or grouped rows get the jackknife's standard error and t quantiles (`intervals.spread`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr, ndtri

from mlops_actions.gate.statistics.intervals import (
    Curve,
    Estimate,
    Guarded,
    Influence,
    Knots,
    Student,
    spread,
    student_quantile,
    two_sided_score,
)
from mlops_actions.gate.statistics.sample import (
    UNBOUNDED,
    Bounds,
    Estimates,
    Sample,
    bounded_scale,
    difference_bounds,
    refuse_relative,
)
from mlops_actions.gate.statistics.scored import Undefined

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mlops_actions.gate.statistics.metrics import Sums
    from mlops_actions.gate.statistics.scored import Scored

    Floats = NDArray[np.float64]
    Values = Any  # Arrays of float or complex.

STEP = 0.1  # Of one standard error, for second differences.
COMPLEX_STEP = 1e-100


def estimates(
    family: Sums, candidate: Scored, champion: Scored | None, sample: Sample, bounds: Bounds
) -> Estimates:
    """Return the estimates of a function of means; see `statistics.compare`."""
    columns = list(family.columns(candidate, sample.rows))
    half = len(columns)
    if champion is not None:
        columns.extend(family.columns(champion, sample.rows))
    moments = Moments.of(_unit_sums(columns, sample))

    def side(number: int) -> Callable[[Values], Values]:
        part = slice(number * half, (number + 1) * half)
        return lambda sums: family.value(sums[..., part] / sums[..., -1:])

    def estimate(
        function: Callable[[Values], Values], bounds: Bounds, *, keep: bool = False
    ) -> Estimate:
        method, degrees = "ABC", None
        found = accelerated(moments, function, sample.confidence)
        curve: Curve | None = found.curve
        error = found.error
        if curve is not None:
            outer = Student(found.estimate, error, len(sample.units) - 1)
            curve = Guarded(curve, outer)
        if not sample.plain and curve is not None:
            # The skewness of some dozens of groups, or of few heavy rows, is mostly noise:
            # correcting it does harm.
            method = "jackknife" if sample.group is None else "jackknife by group"
            error, degrees = spread(found.estimate - function(moments.left_out()))
            scale = bounded_scale(found.estimate, bounds)
            curve = Student.on_scale(found.estimate, error, degrees, scale)
            if scale != "plain":
                method += f", {scale}"
        return sample.estimate(
            found.estimate,
            curve,
            error,
            method,
            degrees=degrees,
            bounds=bounds,
            influence=Influence(sample.units, found.contributions)
            if keep and sample.influence
            else None,
        )

    one, two = side(0), side(1)
    if champion is None:
        return Estimates(estimate(one, bounds, keep=True))
    first, second = estimate(one, bounds), estimate(two, bounds)
    if sample.same:
        difference = sample.identical()
    else:
        difference = estimate(
            lambda sums: one(sums) - two(sums), difference_bounds(bounds), keep=True
        )
    relative = None
    if sample.relative:
        refuse_relative(second.estimate)
        relative = estimate(lambda sums: one(sums) / two(sums) - 1, UNBOUNDED)
    return Estimates(first, second, difference, relative)


def _unit_sums(columns: list[Floats], sample: Sample) -> Floats:
    """Return the weighted sums (c + 1, u) of the columns over units, the weights' own last."""
    ones = np.ones(sample.count) if sample.weight is None else sample.weight
    weighted = columns if sample.weight is None else [column * ones for column in columns]
    return np.stack([sample.sums(column) for column in [*weighted, ones]])


@dataclass(frozen=True, eq=False)
class Moments:
    """What the method needs of the sums of the independent units (rows or groups).

    Attributes:
        sums: (c, u) weighted sums of the columns over each unit; the last is the weights'.
        mean: (c,) their mean.
        roots: (r, c) directions whose outer products add up to the covariance of the mean.

    """

    sums: Floats
    mean: Floats
    roots: Floats

    def left_out(self) -> Floats:
        """Return the mean sums (u, c) without each unit, up to a factor."""
        left: Floats = self.mean - self.sums.T / self.sums.shape[1]
        return left

    @classmethod
    def of(cls, sums: Floats) -> Moments:
        """Take the moments of the sums (c, u)."""
        mean = sums.mean(axis=1)
        # One product at a time: a matrix product would start threads for little work.
        products = np.array([[(one * other).mean() for other in sums] for one in sums])
        covariance = (products - np.outer(mean, mean)) / sums.shape[1]
        sizes, directions = np.linalg.eigh(covariance)
        keep = sizes > 1e-12 * max(float(sizes[-1]), np.finfo(float).tiny)
        return cls(sums, mean, (directions[:, keep] * np.sqrt(sizes[keep])).T)


@dataclass(frozen=True, eq=False)
class Accelerated:
    """A quantity, its standard error, its curve and its influence (u,)."""

    estimate: float
    error: float
    curve: Knots | None
    contributions: Floats


def accelerated(
    moments: Moments, function: Callable[[Values], Values], confidence: float
) -> Accelerated:
    """Return the ABC curve of `function`, which takes mean sums (…, c) to the quantity (…).

    `function` must not change when all sums are multiplied by one number.
    """
    mean, count = moments.mean, moments.sums.shape[1]
    estimate = float(function(mean))
    gradient = complex_step(function, mean)
    # By Euler's theorem the gradient is orthogonal to the mean: influences sum to zero.
    influence = np.zeros(count)
    for slope, column in zip(gradient, moments.sums, strict=True):
        if slope:
            influence += slope * column
    squares = influence * influence
    total = float(squares.sum())
    sigma = np.sqrt(total) / count
    error, degrees = spread(influence / (count - 1))
    if not np.isfinite([estimate, error]).all():
        raise Undefined("the estimate or its error is not finite")
    scale = max(abs(estimate), float(np.abs(gradient) @ np.abs(mean)), 1e-300)
    if error <= 1e-12 * scale:  # Nothing but rounding.
        return Accelerated(estimate, 0.0, None, np.zeros(count))
    acceleration = float((squares * influence).sum()) / (6 * total**1.5)
    direction = np.array([(column * influence).sum() for column in moments.sums])
    direction /= count**2 * sigma
    bend = _second(function, mean, direction[None])[0]
    bias = 0.5 * float(_second(function, mean, moments.roots).sum())
    curvature = bias / sigma - bend / (2 * sigma)
    correction = float(ndtri(2 * ndtr(acceleration) * ndtr(-curvature)))
    if not np.isfinite(correction):
        correction = 0.0

    z = two_sided_score(confidence)
    scores = np.unique(np.concatenate([np.linspace(-4.5, 4.5, 37), [-z, z]]))
    quantiles = np.array([student_quantile(score, degrees) for score in scores])
    quantiles *= error / sigma
    steps = correction + quantiles
    # The map turns back at a step of 1/a; far before that it says nothing any more.
    steps = np.where(acceleration * steps > 0.5, 0.5 / (acceleration or 1), steps)  # noqa: PLR2004
    steps = np.where(acceleration * steps < -0.5, -0.5 / (acceleration or 1), steps)  # noqa: PLR2004
    steps = steps / (1 - acceleration * steps) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        values = function(mean + steps[:, None] * direction)
    valid = np.isfinite(values)
    scores, values = scores[valid], values[valid]
    return Accelerated(
        estimate, error, Knots(scores, np.maximum.accumulate(values)), influence / count
    )


def complex_step(function: Callable[[Values], Values], point: Floats) -> Floats:
    """Return the gradient (c,) at the point (c,), exact to rounding (Squire & Trapp 1998)."""
    shifted = point + 1j * COMPLEX_STEP * np.eye(len(point))
    gradient: Floats = np.imag(function(shifted)) / COMPLEX_STEP
    return gradient


def _second(function: Callable[[Values], Values], point: Floats, directions: Floats) -> Floats:
    """Return the second derivatives (r,) along the directions (r, c)."""
    step = STEP * directions
    with np.errstate(invalid="ignore", divide="ignore"):
        found = function(point + step) - 2 * function(point) + function(point - step)
    return np.where(np.isfinite(found), found, 0.0) / STEP**2
