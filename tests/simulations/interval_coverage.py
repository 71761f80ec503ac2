"""How often the gate's 95 % intervals hold the truth, over simulated pairs of models.

    PYTHONPATH=scripts python tests/simulations/interval_coverage.py [--pairs 2000] [--only TEXT]

A pair is one evaluation set with the answers of two correlated models. The truth is the metric on
two million rows of the same kind. A cell (a kind of set, and a metric) must lie within 93 to 97 %
where at least 5 discordant positives and 20 predicted positives are expected, and not below 93 %
elsewhere. Every pair has a seed of its own, so that a cell can be repeated.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from mlops_actions.gate.statistics.comparison import Undefined, compare
from mlops_actions.gate.statistics.metrics import Scored, lookup

if TYPE_CHECKING:
    from collections.abc import Sequence

TRUTH_ROWS = 2_000_000
BINARY = (
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier_score",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "precision",
    "recall",
    "f1_macro",
    "f1_weighted",
    "matthews_corrcoef",
)
MULTICLASS = (
    "accuracy",
    "balanced_accuracy",
    "f1_macro",
    "f1_weighted",
    "precision_macro",
    "recall_weighted",
    "log_loss",
    "roc_auc_ovr",
    "roc_auc_ovo",
    "roc_auc_ovr_weighted",
    "top_2_accuracy",
    "average_precision",
)
REGRESSION = (
    "mean_absolute_error",
    "root_mean_squared_error",
    "r2",
    "mean_absolute_percentage_error",
    "median_absolute_error",
)


@dataclass(frozen=True)
class Kind:
    """A kind of evaluation set.

    Attributes:
        task: binary, multiclass or regression.
        rows: number of rows.
        share: of positives; of a multiclass set, how much rarer each class is than the one before.
        groups: number of groups, 0 for independent rows.
        weighted: whether rows have weights.
        gap: by how much the candidate is better, in the unit of the score.

    """

    task: str
    rows: int
    share: float = 0.5
    groups: int = 0
    weighted: bool = False
    gap: float = 0.1

    def __str__(self) -> str:
        parts = [self.task, f"n={self.rows}"]
        if self.task != "regression":
            parts.append(f"share={self.share:g}")
        if self.groups:
            parts.append(f"groups={self.groups}")
        return " ".join([*parts, *(["weighted"] if self.weighted else [])])

    @property
    def metrics(self) -> tuple[str, ...]:
        return {"binary": BINARY, "multiclass": MULTICLASS, "regression": REGRESSION}[self.task]


KINDS = (
    *(Kind("binary", rows, share) for rows in (500, 5000) for share in (0.1, 0.5)),
    *(
        Kind("binary", rows, share, groups=groups)
        for rows, groups in ((500, 50), (5000, 50), (5000, 365))
        for share in (0.1, 0.5)
    ),
    Kind("binary", 5000, 0.1, groups=20),
    Kind("binary", 500, 0.1, weighted=True),
    Kind("binary", 5000, 0.5, weighted=True),
    Kind("binary", 5000, 0.1, groups=100, weighted=True),
    Kind("multiclass", 500, 0.5),
    Kind("multiclass", 5000, 0.5),
    Kind("multiclass", 5000, 0.5, groups=100),
    Kind("regression", 500),
    Kind("regression", 5000),
    Kind("regression", 5000, groups=50),
    Kind("regression", 500, weighted=True),
)


def normal_quantile(share: float) -> float:
    return float(ndtri(share))


def pair(kind: Kind, random: np.random.Generator, rows: int) -> tuple[Scored, Scored]:
    """Return one evaluation set of `rows` rows with the answers of both models.

    Groups have sizes of 1 to 4 to one another and share a third of the noise; the truth is drawn
    with as many groups as give the same mean size.
    """
    group = None
    size = 1.0
    if kind.groups:
        count = max(2, round(kind.groups * rows / kind.rows))
        size = 1 + 3 * random.random(count)
        group = random.choice(count, size=rows, p=size / size.sum())
        shared = np.sqrt(1 / 3)
    weight = 0.2 + random.gamma(2.0, size=rows) if kind.weighted else None

    def noise() -> np.ndarray:
        own = random.standard_normal(rows)
        if group is None:
            return own
        return shared * random.standard_normal(count)[group] + np.sqrt(2 / 3) * own

    def correlated() -> tuple[np.ndarray, np.ndarray]:
        common = noise()
        return tuple(np.sqrt(0.85) * common + np.sqrt(0.15) * noise() for _ in range(2))

    def scored(**columns: object) -> Scored:
        return Scored(weight=weight, group=group, **columns)

    if kind.task == "regression":
        mean = 100 + 3 * noise()
        target = mean + 2 * random.standard_t(6, size=rows)
        near = [mean + (0.8 if k else 0.8 - kind.gap) * e for k, e in enumerate(correlated())]
        return tuple(scored(target=target, prediction=values) for values in near)

    if kind.task == "multiclass":
        shares = kind.share ** np.arange(3)
        cuts = [normal_quantile(c) for c in (np.cumsum(shares) / shares.sum())[:-1]]
        target = np.searchsorted(cuts, noise())
        errors = [correlated() for _ in range(3)]
        models = []
        for k in range(2):
            height = 1.3 + (kind.gap if k == 0 else 0)
            scores = np.stack([errors[c][k] + height * (target == c) for c in range(3)], axis=1)
            scores += np.log(shares)
            odds = np.exp(scores)
            models.append(odds / odds.sum(axis=1, keepdims=True))
        labels = (0, 1, 2)
    else:
        target = (noise() > normal_quantile(1 - kind.share)).astype(np.int64)
        models = []
        for k, error in enumerate(correlated()):
            height = 1.5 + (kind.gap if k == 0 else 0)
            score = error + height * target
            odds = kind.share / (1 - kind.share) * np.exp(height * (score - height / 2))
            models.append(np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1))
        labels = (0, 1)
    return tuple(
        scored(target=target, prediction=m.argmax(axis=1), probability=m, labels=labels)
        for m in models
    )


@dataclass(frozen=True)
class Cell:
    """The result for a kind of set and a metric: shares of pairs, and of intervals too low."""

    kind: Kind
    metric: str
    covered: float
    covered_single: float
    below: float
    undefined: int
    width: float
    many: bool

    @property
    def passed(self) -> bool:
        return self.covered >= 0.93 and (self.covered <= 0.97 or not self.many)


def truths(
    kind: Kind, names: Sequence[str], rows: int
) -> tuple[dict[str, tuple[float, float]], bool]:
    """Return the metric of candidate and champion, and whether there is much to count."""
    candidate, champion = pair(kind, np.random.default_rng(20_13), rows)
    task = "regression" if kind.task == "regression" else "classification"
    found = {}
    for name in names:
        metric = lookup(name, task)
        found[name] = tuple(
            compare(metric, side, resamples=100).candidate.estimate
            for side in (candidate, champion)
        )
    many = True
    if kind.task == "binary":
        factor = kind.rows / rows
        positive = candidate.target == 1
        discordant = (candidate.prediction != champion.prediction)[positive].sum() * factor
        predicted = min((s.prediction == 1).sum() for s in (candidate, champion)) * factor
        many = bool(discordant >= 5 and predicted >= 20)
    return found, many


def simulate(
    kind: Kind, pairs: int, names: Sequence[str] | None = None, truth_rows: int = TRUTH_ROWS
) -> list[Cell]:
    """Return one cell for each metric of the kind, or for those named."""
    names = [name for name in kind.metrics if not names or name in names]
    found, many = truths(kind, names, truth_rows)
    task = "regression" if kind.task == "regression" else "classification"
    metrics = {name: lookup(name, task) for name in names}
    covered = dict.fromkeys(names, 0)
    single = dict.fromkeys(names, 0)
    below = dict.fromkeys(names, 0)
    undefined = dict.fromkeys(names, 0)
    width = dict.fromkeys(names, 0.0)
    for number in range(pairs):
        candidate, champion = pair(kind, np.random.default_rng([number, 7]), kind.rows)
        for name, metric in metrics.items():
            try:
                result = compare(metric, candidate, champion, resamples=2000, seed=number)
            except Undefined:
                undefined[name] += 1
                continue
            truth = found[name][0] - found[name][1]
            covered[name] += result.difference.low <= truth <= result.difference.high
            below[name] += result.difference.high < truth
            width[name] += result.difference.high - result.difference.low
            single[name] += result.candidate.low <= found[name][0] <= result.candidate.high
    return [
        Cell(
            kind,
            name,
            covered[name] / max(1, pairs - undefined[name]),
            single[name] / max(1, pairs - undefined[name]),
            below[name] / max(1, pairs - undefined[name]),
            undefined[name],
            width[name] / max(1, pairs - undefined[name]),
            many,
        )
        for name in names
    ]


def main() -> int:
    """Print a table of all cells; return 1 when one is out of its range."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--only", default="", help="kinds whose name contains this text")
    parser.add_argument("--metrics", default="", help="comma-separated")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    kinds = [kind for kind in KINDS if args.only in str(kind)]
    names = args.metrics.split(",") if args.metrics else None
    failed = 0
    say = sys.stdout.write
    say("| set | metric | difference | candidate alone | too low | undefined | width | |\n")
    say("|---|---|---|---|---|---|---|---|\n")
    with multiprocessing.Pool(args.processes) as pool:
        jobs = [pool.apply_async(simulate, (kind, args.pairs, names)) for kind in kinds]
        for job in jobs:
            for cell in job.get():
                failed += not cell.passed
                remark = "" if cell.passed else "out of range"
                if not cell.many:
                    remark += " (few)"
                say(
                    f"| {cell.kind} | {cell.metric} | {cell.covered:.1%} |"
                    f" {cell.covered_single:.1%} | {cell.below:.1%} | {cell.undefined} |"
                    f" {cell.width:.4f} | {remark.strip()} |\n"
                )
                sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
