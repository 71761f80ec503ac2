"""Intervals of metrics of order: DeLong's for ROC-AUC, linearised ones for the rest.

For ROC-AUC see `delong`; for the others the influence of `ranking`, summed over independent units,
with t quantiles (Binder 1983, International Statistical Review 51:279). The interval of one share
is computed on the logit scale, since near 1 it cannot spread evenly to both sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlops_actions.gate.statistics import delong
from mlops_actions.gate.statistics.intervals import Estimate, Student
from mlops_actions.gate.statistics.sample import (
    UNBOUNDED,
    Bounds,
    Estimates,
    Sample,
    bounded_scale,
    difference_bounds,
    refuse_relative,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_actions.gate.statistics.metrics import Ranks
    from mlops_actions.gate.statistics.ranking import Ranked
    from mlops_actions.gate.statistics.scored import Scored

    Floats = NDArray[np.float64]

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
    if sample.same:
        difference = sample.identical()
    else:
        difference = _estimate(
            one.estimate - two.estimate,
            one.contributions - two.contributions,
            one,
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
            one,
            sample,
            UNBOUNDED,
        )
    return Estimates(
        _single(one, sample, bounds), _single(two, sample, bounds), difference, relative
    )


def _single(ranked: Ranked, sample: Sample, bounds: Bounds, *, keep: bool = False) -> Estimate:
    return _estimate(
        ranked.estimate, ranked.contributions, ranked, sample, bounds, single=True, keep=keep
    )


def _estimate(
    number: float,
    contributions: Floats,
    like: Ranked,
    sample: Sample,
    bounds: Bounds,
    *,
    single: bool = False,
    keep: bool = False,
) -> Estimate:
    if like.positive is not None:
        error, degrees = delong.variance(contributions, like.positive, sample.weight, sample.group)
    else:
        error, degrees = sample.linearised(contributions, like.share)
    method = like.methods[sample.group is not None]
    curve = None
    if error > ROUNDING:
        scale = bounded_scale(number, bounds) if single else "plain"
        curve = Student.on_scale(number, error, degrees, scale)
        if scale != "plain":
            method += f", {scale}"
    return sample.estimate(
        number,
        curve,
        error,
        method,
        degrees=degrees,
        bounds=bounds,
        influence=sample.influence_of(contributions) if keep and sample.influence else None,
    )
