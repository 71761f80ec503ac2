"""How often the intervals of all gaps between groups hold the truth, all of them together.

    PYTHONPATH=scripts python tests/simulations/gap_coverage.py [--sets 2000] [--processes N]

A set has some groups of people, each with its own share of positive answers; in some kinds rows
belong together (days, say) and share a third of their noise. Every pair of groups gets an interval
of its difference or ratio; a set counts when each of them holds the truth. Ends with 1 when fewer
than 93 % (92 % with rows of 60 days, which are few) or, where groups are large, more than 97 % do.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.special import ndtri

from mlops_actions.gate.statistics.comparison import compare
from mlops_actions.gate.statistics.metrics import lookup
from mlops_actions.gate.statistics.multiplicity import pairwise
from mlops_actions.gate.statistics.scored import Scored

METRIC = lookup("selection_rate", "classification")


@dataclass(frozen=True)
class Kind:
    """A kind of set.

    Attributes:
        scale: what two groups are compared by.
        shares: of positive answers, by group.
        rows: of each group.
        days: that rows belong to, or 0 for independent rows.

    """

    scale: Literal["difference", "ratio"]
    shares: tuple[float, ...]
    rows: int
    days: int = 0

    def __str__(self) -> str:
        days = f", {self.days} days" if self.days else ""
        return f"{self.scale}, shares {self.shares}, {self.rows} rows a group{days}"


EQUAL, FAR = (0.3,) * 5, (0.1, 0.3, 0.5)
KINDS = [
    Kind(scale, shares, rows, days)
    for scale in ("difference", "ratio")
    for shares in (EQUAL, FAR)
    for rows, days in ((200, 0), (2_000, 0), (2_000, 60))
]


def holds(kind: Kind, random: np.random.Generator) -> bool:
    """Make a set, and say whether every pair's interval holds the truth."""
    shares = np.repeat(kind.shares, kind.rows)
    count = len(shares)
    noise = random.standard_normal(count)
    day = None
    if kind.days:
        day = random.integers(0, kind.days, count)
        shared = random.standard_normal(kind.days)[day]
        noise = math.sqrt(1 / 3) * shared + math.sqrt(2 / 3) * noise
    scored = Scored(
        target=random.integers(0, 2, count),
        prediction=(noise < ndtri(shares)).astype(np.int64),
        labels=(0, 1),
        group=day,
    )
    parts = np.arange(count).reshape(len(kind.shares), kind.rows)
    estimates = [compare(METRIC, scored, rows=part, influence=True).candidate for part in parts]
    found = pairwise(estimates, scale=kind.scale, resamples=2_000)
    for one, (i, j) in zip(found, combinations(range(len(parts)), 2), strict=True):
        a, b = kind.shares[i], kind.shares[j]
        truth = a - b if kind.scale == "difference" else a / b
        if not one.low <= truth <= one.high:
            return False
    return True


def covered(kind: Kind, sets: int) -> float:
    """Return the share of sets whose intervals all hold."""
    return float(np.mean([holds(kind, np.random.default_rng([n, 11])) for n in range(sets)]))


def main() -> int:
    """Print a line for each kind; return 1 when one is out of its range."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=2_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    failed = 0
    with multiprocessing.Pool(args.processes) as pool:
        jobs = [pool.apply_async(covered, (kind, args.sets)) for kind in KINDS]
        for kind, job in zip(KINDS, jobs, strict=True):
            share = job.get()
            good = share >= (0.92 if kind.days else 0.93) and (share <= 0.97 or kind.rows < 2_000)
            failed += not good
            sys.stdout.write(f"{kind}: {share:.1%}{'' if good else ' out of range'}\n")
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
