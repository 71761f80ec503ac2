"""An evaluation set wears out: each verdict on it tells the next candidate something.

Source: alpha spending over an open-ended series, with shares 6/(pi^2 k^2) that sum to one, so that
all verdicts on one set together err at most with alpha (Foster & Stine 2008, JRSS B 70:429, section
4; the adaptive holdout problem: Dwork et al. 2015, Science 349:636).
"""

from __future__ import annotations

import math

from mlops_actions.evidence import Check, check


def confidence(level: float, verdict: int) -> float:
    """Return the level of the k-th verdict on one set, from the policy's and k (from 1)."""
    return min(1 - (1 - level) * 6 / (math.pi**2 * verdict**2), math.nextafter(1, 0))


def fresh(verdict: int, most: int | None) -> Check:
    """Say whether the set may still give its k-th verdict."""
    if most is not None and verdict > most:
        message = (
            f"The release set has given {verdict - 1} verdicts, and gate.max_verdicts is {most}: "
            "it is worn out. Make a fresh one."
        )
        return check("release: wear", "inconclusive", verdict, most, message)
    return check("release: wear", "pass", verdict, most)
