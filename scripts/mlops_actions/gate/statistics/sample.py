"""The rows to judge, and how an estimate on them is written down."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mlops_actions.gate.statistics.intervals import (
    Curve,
    Estimate,
    Influence,
    Student,
    Unvarying,
    estimate_from_curve,
    spread,
)
from mlops_actions.gate.statistics.scored import Undefined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Rows = NDArray[np.int64] | None

Bounds = tuple[float, float]
ROUNDING = 1e-12
UNBOUNDED: Bounds = (-np.inf, np.inf)


class Estimates(NamedTuple):
    """The numbers of one comparison, before the metric's sign."""

    candidate: Estimate
    champion: Estimate | None = None
    difference: Estimate | None = None
    relative: Estimate | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The m rows to judge.

    Attributes:
        rows: (m,) their positions in the whole set, or None for all of it.
        count: m.
        weight: (m,) or None.
        group: (m,) codes, or None.
        confidence: level of the intervals.
        resamples: number of draws where a method draws.
        random: source of the draws.
        same: whether both models gave the same answers to all rows of the whole set.
        relative: whether the relative change is wanted.
        influence: whether influences are wanted.

    """

    rows: Rows
    count: int
    weight: Floats | None
    group: Integers | None
    confidence: float
    resamples: int
    random: np.random.Generator
    same: bool
    relative: bool
    influence: bool

    @property
    def plain(self) -> bool:
        """Return whether all rows are independent and count the same."""
        return self.weight is None and self.group is None

    @cached_property
    def share(self) -> Floats:
        """Return each row's share (m,) of the weight."""
        if self.weight is None:
            return np.full(self.count, 1 / self.count)
        share: Floats = self.weight / self.weight.sum()
        return share

    @cached_property
    def units(self) -> Integers:
        """Return the numbers (u,) of the independent units: row positions, or group codes."""
        if self.group is None:
            return np.arange(self.count) if self.rows is None else self.rows
        return np.flatnonzero(np.bincount(self.group))

    @cached_property
    def codes(self) -> Integers:
        """Return for each row (m,) the place 0 … u-1 of its unit in `units`."""
        if self.group is None:
            return np.arange(self.count)
        place = np.zeros(int(self.group.max()) + 1, dtype=np.int64)
        place[self.units] = np.arange(len(self.units))
        return place[self.group]

    def pick(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values of the rows to judge."""
        return values if self.rows is None else values[self.rows]

    def sums(self, values: Floats) -> Floats:
        """Return the sums (u,) of the values (m,) over the units."""
        if self.group is None:
            return values
        return np.bincount(self.codes, values).astype(np.float64, copy=False)

    def influence_of(self, contributions: Floats) -> Influence:
        """Return the influence by unit of contributions (m,) by row."""
        return Influence(self.units, self.sums(contributions))

    def linearised(self, contributions: Floats, share: Floats | None = None) -> tuple[float, float]:
        """Return standard error and degrees of freedom of contributions (m,) by row.

        A unit left out also takes its share along, by default of the weight: its contribution is
        divided by what is left, which is the jackknife to first order.

        Raises:
            Undefined: without one of the units nothing is left.

        """
        left = 1 - self.sums(self.share if share is None else share)
        if left.min() <= ROUNDING:
            raise Undefined("all that counts lies in one unit")
        return spread(self.sums(contributions) / left)

    def estimate(
        self,
        number: float,
        curve: Curve | None,
        error: float,
        method: str,
        *,
        degrees: float | None = None,
        bounds: Bounds = UNBOUNDED,
        influence: Influence | None = None,
    ) -> Estimate:
        """Return the estimate read from its curve, None being that of what does not vary.

        Raises:
            Undefined: a number is not finite.

        """
        if curve is None:
            error, method = 0.0, "no variation"
            curve = Student(number, 0.0)
            if np.isfinite(bounds).all():
                curve = Unvarying(number, len(self.units), *bounds)
                method += ", Clopper-Pearson"
        found = estimate_from_curve(
            number,
            curve,
            confidence=self.confidence,
            error=error,
            method=method,
            degrees=degrees,
            bounds=bounds,
            influence=influence if self.influence else None,
        )
        if not np.isfinite([number, error, found.low, found.high]).all():
            raise Undefined("the estimate or its interval is not finite")
        return found

    def identical(self) -> Estimate:
        """Return the difference of two models with the same answers: none, and surely so."""
        units = self.units
        return estimate_from_curve(
            0.0,
            Student(0.0, 0.0),
            confidence=self.confidence,
            error=0.0,
            method="identical answers",
            influence=Influence(units, np.zeros(len(units))) if self.influence else None,
        )


def difference_bounds(bounds: Bounds) -> Bounds:
    """Return the bounds of the difference of two numbers within the same bounds."""
    return bounds[0] - bounds[1], bounds[1] - bounds[0]


def bounded_scale(number: float, bounds: Bounds) -> Literal["plain", "logit", "log"]:
    """Return the scale on which a number within these bounds spreads evenly."""
    if bounds == (0.0, 1.0) and 0 < number < 1:
        return "logit"
    if bounds[0] == 0 and number > 0 and bounds[1] > 1:
        return "log"
    return "plain"


def refuse_relative(base: float) -> None:
    """Raise `Undefined` where a relative change to `base` means nothing."""
    if not base > 0:
        raise Undefined("a relative change needs a champion above zero")
