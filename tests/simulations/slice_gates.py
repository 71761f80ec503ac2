"""How often 40 slices reject a model that is no worse, and find one that is worse in one slice.

    PYTHONPATH=scripts python tests/simulations/slice_gates.py [--gates N] [--processes N]

Two models of equal accuracy (0.9), whose answers differ in some rows, are judged in 40 slices with
a margin of 0. Then one slice of 1,000 rows loses five points of accuracy. Ends with 1 when more
than 5 % (and two Monte-Carlo errors) are rejected because of a slice, or fewer than 95 % are found.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl

from mlops_actions import config
from mlops_actions.gate.assessment import Policy, assess, choose
from mlops_actions.gate.predictions import PairedSet
from mlops_actions.gate.rows import Terms
from mlops_actions.gate.statistics.scored import Scored

SLICES = 40
CONFIG = """\
name: simulated
task: classification
target: y
labels: [0, 1]
id: row
data: {training: a.parquet, evaluation: b.parquet}
gate:
  metrics: {accuracy: {non_inferiority_margin: 0}}
  slices: [{columns: [part]}]
"""
TERMS = Terms(confidence=0.95, resamples=10_000, seed=0, bootstrap=False)


def policy() -> Policy:
    """Return the policy that is simulated."""
    return choose(config.parse(CONFIG, Path("mlops.yaml")))


def pair(random: np.random.Generator, rows: int, loss: float) -> PairedSet:
    """Make two models that agree in nine rows of ten; ``loss`` is what the first slice loses.

    ``rows`` is the size of each slice.
    """
    count = rows * SLICES
    part = np.repeat(np.arange(SLICES), rows)
    target = random.integers(0, 2, count)
    right = random.random(count) < 0.9
    again = random.random(count) < 0.9
    own = random.random(count) < 0.1
    theirs = np.where(own, again, right)
    mine = right & ~((part == 0) & (random.random(count) < loss / 0.9))

    def scored(correct: np.ndarray) -> Scored:
        return Scored(
            target=target, prediction=np.where(correct, target, 1 - target), labels=(0, 1)
        )

    return PairedSet(
        name="release",
        rows=pl.DataFrame({"": np.arange(count), "part": part}),
        candidate=scored(mine),
        champion=scored(theirs),
        anchor=None,
        identical=False,
        left_out=0,
        digest="",
        checks=[],
    )


def rejected(asked: Policy, one: PairedSet) -> list[str]:
    """Return the slices because of which the gate rejects."""
    found = assess(asked, [one], TERMS)
    return [item["slice"] for item in found.checks if item["status"] == "fail" and "slice" in item]


def false_alarm(number: int, rows: int = 250) -> bool:
    """Whether a gate rejects two equal models because of a slice; each has a seed of its own."""
    return bool(rejected(policy(), pair(np.random.default_rng([number, 1]), rows, 0)))


def detection(number: int, rows: int = 1_000) -> bool:
    """Whether a gate finds a loss of five points in one slice."""
    return "part=0" in rejected(policy(), pair(np.random.default_rng([number, 2]), rows, 0.05))


def allowed(gates: int) -> float:
    """Return 5 % and two Monte-Carlo errors."""
    return 0.05 + 2 * math.sqrt(0.05 * 0.95 / gates)


def main() -> int:
    """Simulate, print, and say whether the promises hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gates", type=int, default=5_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    gates = args.gates
    with multiprocessing.Pool(args.processes) as pool:
        wrong, found = (
            float(np.mean(pool.map(one, range(gates), chunksize=10)))
            for one in (false_alarm, detection)
        )
    sys.stdout.write(
        f"{gates:,} gates of {SLICES} equal slices: {wrong:.1%} rejected "
        f"(at most {allowed(gates):.1%})\n"
        f"a loss of 5 points in a slice of 1,000 rows: found in {found:.1%} (at least 95 %)\n"
    )
    return 0 if wrong <= allowed(gates) and found >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
