"""How often 40 slices reject a model that is no worse, and find one that is worse in one slice.

    PYTHONPATH=scripts python tests/simulations/slice_gates.py [--gates N] [--processes N]

Two models of equal accuracy (0.9), whose answers differ in some rows, are judged in 40 slices with
a margin of 0; then two of equal log loss, whose probabilities differ in all rows or in a twentieth
of them. Then one slice of 1,000 rows loses five points of accuracy. Ends with 1 when more than 5 %
(and two Monte-Carlo errors) are rejected because of a slice, or fewer than 95 % are found.
"""

from __future__ import annotations

import argparse
import functools
import math
import multiprocessing
import os
import sys
from collections.abc import Callable
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
  metrics: {METRIC: {non_inferiority_margin: 0}}
  slices: [{columns: [part]}]
"""
TERMS = Terms(confidence=0.95, resamples=10_000, seed=0, bootstrap=False)


@functools.cache
def policy(metric: str = "accuracy") -> Policy:
    """Return the policy that is simulated."""
    return choose(config.parse(CONFIG.replace("METRIC", metric), Path("mlops.yaml")))


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

    return _paired(part, scored(mine), scored(theirs))


def probable(random: np.random.Generator, rows: int, share: float) -> PairedSet:
    """Make two models whose probabilities differ in a share of the rows, and are equally good."""
    count = rows * SLICES
    target = random.integers(0, 2, count)
    known = random.normal(size=count) + 2 * target - 1

    def scored() -> Scored:
        own = random.random(count) < share
        again = random.normal(size=count) + 2 * target - 1
        score = np.where(own, (known + again) / 2 if share == 1 else again, known)
        probability = 1 / (1 + np.exp(-2 * score))
        return Scored(
            target=target,
            prediction=(score > 0).astype(np.int64),
            probability=np.stack([1 - probability, probability], axis=1),
            labels=(0, 1),
        )

    return _paired(np.repeat(np.arange(SLICES), rows), scored(), scored())


def _paired(part: np.ndarray, mine: Scored, theirs: Scored) -> PairedSet:
    return PairedSet(
        name="release",
        rows=pl.DataFrame({"": np.arange(len(part)), "part": part}),
        candidate=mine,
        champion=theirs,
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


def false_alarm_of_all(number: int, rows: int = 250) -> bool:
    """Whether a gate on log loss does, when the models differ in all rows."""
    one = probable(np.random.default_rng([number, 3]), rows, 1)
    return bool(rejected(policy("log_loss"), one))


def false_alarm_of_few(number: int, rows: int = 250) -> bool:
    """Whether it does, when they differ in a twentieth of the rows."""
    one = probable(np.random.default_rng([number, 4]), rows, 0.05)
    return bool(rejected(policy("log_loss"), one))


FALSE_ALARMS: dict[str, Callable[[int], bool]] = {
    "accuracy": false_alarm,
    "log loss, all rows differ": false_alarm_of_all,
    "log loss, a twentieth differs": false_alarm_of_few,
}


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

        def share(one: Callable[[int], bool]) -> float:
            return float(np.mean(pool.map(one, range(gates), chunksize=10)))

        most = 0.0
        for name, one in FALSE_ALARMS.items():
            wrong = share(one)
            most = max(most, wrong)
            sys.stdout.write(
                f"{gates:,} gates of {SLICES} equal slices, {name}: {wrong:.1%} rejected "
                f"(at most {allowed(gates):.1%})\n"
            )
        found = share(detection)
    sys.stdout.write(
        f"a loss of 5 points in a slice of 1,000 rows: found in {found:.1%} (at least 95 %)\n"
    )
    return 0 if most <= allowed(gates) and found >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
