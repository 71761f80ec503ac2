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

from mlops_actions.gate.intervals import (
    Estimate,
    Student,
    knots_from_draws,
    spread,
    student_quantile,
    two_sided_score,
)
from mlops_actions.gate.metrics import Counts, Hits
from mlops_actions.gate.sample import (
    UNBOUNDED,
    Bounds,
    Estimates,
    Sample,
    difference_bounds,
    refuse_relative,
)
from mlops_actions.gate.scored import Undefined

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mlops_actions.gate.scored import Scored

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Values = Any  # Arrays of float or complex.

BLOCK = 4_000_000
"""Largest number of cells drawn at a time, which bounds memory to about 100 MB."""

MOST_CLASSES = 10
"""With more classes the table has more cells than a sample can fill: linearised instead."""

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

    def influence(self) -> Floats:
        """Return each row's influence (m,), in the metric's unit, before weights and division."""
        used = np.flatnonzero(self.shares)
        gradient = np.zeros(len(self.shares))
        block = max(1, BLOCK // len(self.shares))
        for start in range(0, len(used), block):
            part = used[start : start + block]
            shifted = np.tile(self.shares.astype(np.complex128), (len(part), 1))
            shifted[np.arange(len(part)), part] += 1j * COMPLEX_STEP
            gradient[part] = np.imag(self.metric(shifted)) / COMPLEX_STEP
        gradient -= gradient @ self.shares
        return gradient[self.cells]


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
    linear = many or sample.influence or not sample.plain

    def single(side: Side, *, keep: bool) -> Estimate:
        return _estimate(
            float(side.metric(side.shares)),
            side.metric,
            None if many else (side.cells, side.shares),
            side.influence() if linear else None,
            sample,
            bounds=bounds,
            keep=keep,
        )

    first = single(one, keep=champion is None)
    if champion is None:
        return Estimates(first)
    two = Side.of(family, champion, sample)
    second = single(two, keep=False)

    classes, table = one.shape[-1], None
    if not many:
        cells = one.cells * classes + two.cells % classes
        table = cells, _shares(cells, classes * len(one.shares), sample)

    def both(shares: Values) -> tuple[Values, Values]:
        cube = shares.reshape(*shares.shape[:-1], *one.shape, classes)
        return one.value(cube.sum(axis=-1)), two.value(cube.sum(axis=-2))

    def minus(shares: Values) -> Values:
        a, b = both(shares)
        return a - b

    def quotient(shares: Values) -> Values:
        a, b = both(shares)
        return a / b - 1

    if np.array_equal(one.cells, two.cells):
        difference = sample.identical()
    else:
        difference = _estimate(
            first.estimate - second.estimate,
            minus,
            table,
            one.influence() - two.influence() if linear else None,
            sample,
            bounds=difference_bounds(bounds),
            keep=True,
        )
    relative = None
    if sample.relative:
        refuse_relative(second.estimate)
        share = first.estimate / second.estimate
        rowwise = None
        if linear:
            rowwise = (one.influence() - share * two.influence()) / second.estimate
        relative = _estimate(share - 1, quotient, table, rowwise, sample, bounds=UNBOUNDED)
    return Estimates(first, second, difference, relative)


def _estimate(
    number: float,
    function: Callable[[Values], Values],
    table: tuple[Integers, Floats] | None,
    rowwise: Floats | None,
    sample: Sample,
    *,
    bounds: Bounds,
    keep: bool = False,
) -> Estimate:
    """Return the estimate of `function`, which takes shares (…, c) of cells to the quantity (…).

    `table` holds each row's cell (m,) and the shares (c,); without it the estimate is linearised.
    `rowwise` holds the influence (m,) of each row; it may be left out for plain rows.
    """
    influence, error, degrees, design = None, 0.0, np.inf, 1.0
    if rowwise is not None:
        scale = 1 / sample.count if sample.weight is None else sample.weight / sample.weight.sum()
        contributions = rowwise * scale
        if keep and sample.influence:
            influence = sample.influence_of(contributions)
        if table is None or not sample.plain:
            error, degrees = sample.linearised(contributions)
            if table is not None and sample.group is not None:
                error, degrees = _left_out(number, function, table, sample) or (error, degrees)
            # What equal, independent rows would have. Without variation to measure it by, as if
            # a unit's rows were all alike.
            independent = float(contributions @ rowwise) / sample.count
            design = error**2 / independent if independent else sample.count / len(sample.units())
    method = "" if sample.group is None else " by group"
    if table is None:
        return sample.estimate(
            number,
            Student.on_scale(number, error, degrees, "plain") if error > 0 else None,
            error,
            f"linearised{method}",
            degrees=degrees,
            bounds=bounds,
            influence=influence,
        )
    # Fewer rows, so that normal quantiles of the draws are t quantiles of the sample.
    z = two_sided_score(sample.confidence)
    widening = student_quantile(z, degrees) / z
    rows = sample.count / max(design, 1.0) / widening**2
    drawn = draws(table[1], rows, function, resamples=sample.resamples, random=sample.random)
    return sample.estimate(
        number,
        knots_from_draws(drawn, sample.confidence),
        float(drawn.std()) / widening,
        "paired table" if sample.plain else f"paired table, effective counts{method}",
        degrees=degrees,
        bounds=bounds,
        influence=influence,
    )


def _left_out(
    number: float,
    function: Callable[[Values], Values],
    table: tuple[Integers, Floats],
    sample: Sample,
) -> tuple[float, float] | None:
    """Return standard error and degrees of freedom from leaving out each group in turn.

    None where there are so many groups that to first order it makes no difference.

    Raises:
        Undefined: without one of the groups there is no metric.

    """
    cells, shares = table
    groups = sample.units()
    if sample.group is None or len(groups) * len(shares) > BLOCK:
        return None
    codes = np.searchsorted(groups, sample.group)
    counts = np.bincount(
        codes * len(shares) + cells, weights=sample.weight, minlength=len(groups) * len(shares)
    ).reshape(len(groups), len(shares))
    left = counts.sum(axis=0) - counts
    if not left.sum(axis=1).all():
        raise Undefined("without one of the groups nothing is left")
    found = function(left / left.sum(axis=1, keepdims=True))
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
