"""Intervals of metrics of order: DeLong's for ROC-AUC, linearised ones for the rest.

For ROC-AUC see `delong`; for the others the influence of `ranking`, summed over independent units,
with t quantiles (Binder 1983, International Statistical Review 51:279). The interval of one share
is computed on the logit scale, since near 1 it cannot spread evenly to both sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_actions.gate import delong
from mlops_actions.gate.intervals import Estimate, Influence, Student
from mlops_actions.gate.sample import (
    UNBOUNDED,
    Bounds,
    Estimates,
    Sample,
    difference_bounds,
    refuse_relative,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_actions.gate.metrics import Ranks
    from mlops_actions.gate.ranking import Ranked
    from mlops_actions.gate.scored import Scored

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

ROUNDING = 1e-14
"""A standard error below this is what rounding leaves of none."""


def estimates(
    family: Ranks, candidate: Scored, champion: Scored | None, sample: Sample, bounds: Bounds
) -> Estimates:
    """Return the estimates of a metric of order; see `statistics.compare`."""
    one = family.contributions(candidate, sample.rows)
    if champion is None:
        return Estimates(_single(one, sample, bounds, keep=True))
    two = family.contributions(champion, sample.rows)
    if np.array_equal(one.contributions, two.contributions) and one.estimate == two.estimate:
        difference = sample.identical()
    else:
        difference = _estimate(
            one.estimate - two.estimate,
            one.contributions - two.contributions,
            one.positive,
            sample,
            difference_bounds(bounds),
            keep=True,
        )
    relative = None
    if sample.relative:
        refuse_relative(two.estimate)
        quotient = one.estimate / two.estimate
        relative = _estimate(
            quotient - 1,
            (one.contributions - quotient * two.contributions) / two.estimate,
            one.positive,
            sample,
            UNBOUNDED,
        )
    return Estimates(
        _single(one, sample, bounds), _single(two, sample, bounds), difference, relative
    )


def _single(ranked: Ranked, sample: Sample, bounds: Bounds, *, keep: bool = False) -> Estimate:
    share = bounds == (0.0, 1.0) and 0 < ranked.estimate < 1
    return _estimate(
        ranked.estimate,
        ranked.contributions,
        ranked.positive,
        sample,
        bounds,
        logit=share,
        keep=keep,
    )


def _estimate(
    number: float,
    contributions: Floats,
    positive: Booleans | None,
    sample: Sample,
    bounds: Bounds,
    *,
    logit: bool = False,
    keep: bool = False,
) -> Estimate:
    influence, degrees = None, 0.0
    if positive is None:
        influence, error, degrees = sample.linearised(contributions)
        method = "linearised" if sample.group is None else "linearised by group"
    else:
        variance, degrees = delong.variance(contributions, positive, sample.group)
        error = float(np.sqrt(variance))
        method = "DeLong" if sample.group is None else "Obuchowski"
        if keep and sample.influence:
            influence = Influence(sample.units(), sample.sums(contributions))
    curve = None
    if error > ROUNDING and logit:
        method += ", logit"
        slope = number * (1 - number)
        curve = Student(float(np.log(number / (1 - number))), error / slope, degrees, "logit")
    elif error > ROUNDING:
        curve = Student(number, error, degrees)
    return sample.estimate(
        number,
        curve,
        error,
        method,
        degrees=degrees,
        bounds=bounds,
        influence=influence if keep else None,
    )
