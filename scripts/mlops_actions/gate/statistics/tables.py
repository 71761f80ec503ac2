"""Counts: intervals from the table of what both models answered.

All that a count metric knows of two models is the table of target by candidate's by champion's
answer. The cells get half a count each and are drawn from the Dirichlet distribution with these
parameters: Jeffreys' posterior (Brown, Cai & DasGupta 2001, Statistical Science 16:101, for one
share; Agresti & Min 2005, Statistics in Medicine 24:729, for paired ones). For weighted or grouped
rows the counts are first reduced to the effective number of rows, by the design effect of the very
quantity at hand and its few degrees of freedom (Korn & Graubard 1998, Survey Methodology 24:193).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_actions.gate.statistics.intervals import (
    Estimate,
    Student,
    knots_from_draws,
    spread,
    student_quantile,
    two_sided_score,
)
from mlops_actions.gate.statistics.metrics import Counts, Hits
from mlops_actions.gate.statistics.sample import (
    UNBOUNDED,
    Bounds,
    Estimates,
    Sample,
    difference_bounds,
    refuse_relative,
)
from mlops_actions.gate.statistics.scored import Undefined

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mlops_actions.gate.statistics.scored import Scored

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Values = Any  # Arrays of float or complex.

BLOCK = 4_000_000
"""Largest number of cells drawn at a time, which bounds memory to about 100 MB."""

MOST_CLASSES = 10
"""With more classes the table has more cells than a sample can fill: linearised instead."""

MOST_CLASSES_AT_ALL = 200
"""Beyond this the derivative by every cell takes minutes."""

COMPLEX_STEP = 1e-100


@dataclass(frozen=True, eq=False)
class Side:
    """The counts of one model.

    Attributes:
        shape: of the shares of cells: (2,) of misses and hits, or (k, k) of target by answer.
        cells: (m,) each row's cell.
        shares: (prod(shape),) share of rows, by weight, in each cell.
        value: takes shares (…, *shape) to the metric (…).

    """

    shape: tuple[int, ...]
    cells: Integers
    shares: Floats
    value: Callable[[Values], Values]

    @classmethod
    def of(cls, family: Hits | Counts, scored: Scored, sample: Sample) -> Side:
        """Count one model's answers."""
        if isinstance(family, Hits):
            hits = sample.pick(family.hit(scored)).astype(np.int64)
            of_hits = family.value
            return cls((2,), hits, _shares(hits, 2, sample), lambda cells: of_hits(cells[..., 1]))
        size = len(scored.labels)
        if size > MOST_CLASSES_AT_ALL:
            raise Undefined(
                f"a metric by class is computed for at most {MOST_CLASSES_AT_ALL} classes"
            )
        flip = family.binary and scored.positive == 0

        def make() -> Integers:
            codes, answers = scored.codes(), scored.answers()
            return (1 - codes) * 2 + (1 - answers) if flip else codes * size + answers

        cells = sample.pick(scored.kept("flipped cells" if flip else "cells", make))
        shares = _shares(cells, size**2, sample)
        observed, of_matrix = shares.reshape(size, size), family.value
        return cls((size, size), cells, shares, lambda matrix: of_matrix(matrix, observed))

    def metric(self, shares: Values) -> Values:
        """Take shares (…, prod(shape)) to the metric (…)."""
        return self.value(shares.reshape(*shares.shape[:-1], *self.shape))

    def gradient(self) -> Floats:
        """Return the influence (prod(shape),) of a row in each cell, in the metric's unit."""
        used = np.flatnonzero(self.shares)
        gradient = np.zeros(len(self.shares))
        block = max(1, BLOCK // len(self.shares))
        for start in range(0, len(used), block):
            part = used[start : start + block]
            shifted = np.tile(self.shares.astype(np.complex128), (len(part), 1))
            shifted[np.arange(len(part)), part] += 1j * COMPLEX_STEP
            gradient[part] = np.imag(self.metric(shifted)) / COMPLEX_STEP
        return gradient - gradient @ self.shares


@dataclass(frozen=True, eq=False)
class Table:
    """A quantity as a function of the shares of cells.

    Attributes:
        cells: (m,) each row's cell.
        shares: (c,) share of rows, by weight, in each cell.
        value: takes shares (…, c) to the quantity (…).
        gradient: (c,) influence of a row in each cell.

    """

    cells: Integers
    shares: Floats
    value: Callable[[Values], Values]
    gradient: Floats


def _shares(cells: Integers, size: int, sample: Sample) -> Floats:
    counts = np.bincount(cells, weights=sample.weight, minlength=size)
    shares: Floats = counts / counts.sum()
    return shares


def estimates(
    family: Hits | Counts,
    candidate: Scored,
    champion: Scored | None,
    sample: Sample,
    bounds: Bounds,
) -> Estimates:
    """Return the estimates of a count metric; see `statistics.compare`."""
    one = Side.of(family, candidate, sample)
    many = one.shape[0] > MOST_CLASSES
    first, slope = float(one.metric(one.shares)), one.gradient()

    def single(side: Side, number: float, slope: Floats, *, keep: bool) -> Estimate:
        if many:
            return _linearised(number, slope[side.cells], sample, bounds, keep=keep)
        table = Table(side.cells, side.shares, side.metric, slope)
        return _drawn(number, table, sample, bounds, keep=keep)

    if champion is None:
        return Estimates(single(one, first, slope, keep=True))
    two = Side.of(family, champion, sample)
    second, other_slope = float(two.metric(two.shares)), two.gradient()
    classes = one.shape[-1]
    joint = one.cells * classes + two.cells % classes

    def paired(
        number: float,
        value: Callable[[Values, Values], Values],
        factors: tuple[float, float],
        bounds: Bounds,
        *,
        keep: bool = False,
    ) -> Estimate:
        """Return the estimate of a function of both metrics, with its derivatives by them."""
        a, b = factors[0] * slope, factors[1] * other_slope
        if many:
            return _linearised(number, a[one.cells] + b[two.cells], sample, bounds, keep=keep)

        def both(shares: Values) -> Values:
            cube = shares.reshape(*shares.shape[:-1], *one.shape, classes)
            return value(one.value(cube.sum(axis=-1)), two.value(cube.sum(axis=-2)))

        shape = one.shape
        gradient = a.reshape(*shape, 1) + b.reshape(*shape[:-1], 1, classes)
        shares = _shares(joint, classes * len(one.shares), sample)
        return _drawn(
            number, Table(joint, shares, both, gradient.ravel()), sample, bounds, keep=keep
        )

    if sample.same:
        difference = sample.identical()
    else:
        difference = paired(
            first - second,
            lambda a, b: a - b,
            (1.0, -1.0),
            difference_bounds(bounds),
            keep=True,
        )
    relative = None
    if sample.relative:
        refuse_relative(second)
        relative = paired(
            first / second - 1,
            lambda a, b: a / b - 1,
            (1 / second, -first / second**2),
            UNBOUNDED,
        )
    return Estimates(
        single(one, first, slope, keep=False),
        single(two, second, other_slope, keep=False),
        difference,
        relative,
    )


def _linearised(
    number: float, rowwise: Floats, sample: Sample, bounds: Bounds, *, keep: bool
) -> Estimate:
    """Return an estimate with t quantiles; `rowwise` (m,) is each row's influence."""
    contributions = rowwise * sample.share
    error, degrees = sample.linearised(contributions)
    return sample.estimate(
        number,
        Student(number, error, degrees) if error > 0 else None,
        error,
        "linearised" if sample.group is None else "linearised by group",
        degrees=degrees,
        bounds=bounds,
        influence=sample.influence_of(contributions) if keep and sample.influence else None,
    )


def _drawn(number: float, table: Table, sample: Sample, bounds: Bounds, *, keep: bool) -> Estimate:
    """Return an estimate by draws of the table."""
    influence, degrees, design, method = None, np.inf, 1.0, "paired table"
    if keep and sample.influence:
        influence = sample.influence_of(table.gradient[table.cells] * sample.share)
    if not sample.plain:
        error, degrees = _error(number, table, sample)
        # Against what equal, independent rows would have. Without variation to measure it by,
        # as if a unit's rows were all alike.
        independent = float((table.shares * table.gradient**2).sum()) / sample.count
        design = error**2 / independent if independent else sample.count / len(sample.units)
        method += ", effective counts" + ("" if sample.group is None else " by group")
    # Fewer rows, so that normal quantiles of the draws are t quantiles of the sample.
    z = two_sided_score(sample.confidence)
    widening = student_quantile(z, degrees) / z
    drawn = draws(
        table.shares,
        sample.count / max(design, 1.0) / widening**2,
        table.value,
        resamples=sample.resamples,
        random=sample.random,
    )
    return sample.estimate(
        number,
        knots_from_draws(drawn, sample.confidence),
        float(drawn.std()) / widening,
        method,
        degrees=degrees,
        bounds=bounds,
        influence=influence,
    )


def _error(number: float, table: Table, sample: Sample) -> tuple[float, float]:
    """Return standard error and degrees of freedom of weighted or grouped rows.

    Each group is left out in turn; to first order only where there are so many units that it makes
    no difference.

    Raises:
        Undefined: without one of the groups there is no metric.

    """
    groups, cells = len(sample.units), len(table.shares)
    if sample.group is None or groups * cells > BLOCK:
        return sample.linearised(table.gradient[table.cells] * sample.share)
    counts = np.bincount(
        sample.codes * cells + table.cells, weights=sample.weight, minlength=groups * cells
    ).reshape(groups, cells)
    left = counts.sum(axis=0) - counts
    if not left.sum(axis=1).all():
        raise Undefined("without one of the groups nothing is left")
    found = table.value(left / left.sum(axis=1, keepdims=True))
    if not np.isfinite(found).all():
        raise Undefined("without one of the groups the metric does not exist")
    return spread(number - found)


def draws(
    shares: Floats,
    rows: float,
    function: Callable[[Values], Values],
    *,
    resamples: int,
    random: np.random.Generator,
) -> Floats:
    """Return `resamples` draws of a quantity.

    Args:
        shares: (c,) share of rows in each cell.
        rows: effective number of rows.
        function: takes shares (…, c) to the quantity (…).
        resamples: number of draws.
        random: source of randomness.

    """
    parameters = shares * rows + pseudo_count(len(shares))
    found = np.empty(resamples)
    block = max(1, BLOCK // len(shares))
    for start in range(0, resamples, block):
        stop = min(start + block, resamples)
        cells = random.standard_gamma(parameters, size=(stop - start, len(shares)))
        cells /= cells.sum(axis=1, keepdims=True)
        found[start:stop] = function(cells)
    return found


def pseudo_count(cells: int) -> float:
    """Return what is added to each cell: half a count, but never more than four in all.

    Two classes make 8 cells. With more classes half a count each would outweigh the rows.
    """
    return min(0.5, 4 / cells)
