"""Make bca.json: SciPy's BCa intervals, which the gate's are compared with.

    python tests/unit/references/make_bca.py        # about ten minutes

The metrics are written out here once more, so that nothing of the gate's own code is in the
references. The rows come from `random.Random`, whose numbers never change between versions.
"""

from __future__ import annotations

import json
import random
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy
from scipy.special import ndtri
from scipy.stats import bootstrap, rankdata

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 2000
RESAMPLES = 20_000
SEED = 4


def normal(source: random.Random, count: int = ROWS) -> np.ndarray:
    """Return normal numbers (count,)."""
    return ndtri([source.random() for _ in range(count)])


def classification() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return target and both models' probabilities of the positive class, each (ROWS,)."""
    source = random.Random(SEED)  # noqa: S311
    target = (normal(source) > ndtri(0.8)).astype(int)
    common = normal(source)
    models = []
    for height in (1.7, 1.5):
        score = np.sqrt(0.85) * common + np.sqrt(0.15) * normal(source) + height * target
        models.append(1 / (1 + 4 * np.exp(-height * (score - height / 2))))
    return target, models[0], models[1]


def regression() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return target and both models' predictions, each (ROWS,)."""
    source = random.Random(SEED + 1)  # noqa: S311
    mean = 100 + 10 * normal(source)
    target = mean + 3 * normal(source)
    common = normal(source)
    return (
        target,
        mean + 2.0 * (common + 0.5 * normal(source)),
        mean + 2.1 * (common + 0.5 * normal(source)),
    )


def roc_auc(y: np.ndarray, p: np.ndarray) -> float:
    positives = int(y.sum())
    return (rankdata(p)[y == 1].sum() - positives * (positives + 1) / 2) / (
        positives * (len(y) - positives)
    )


def average_precision(y: np.ndarray, p: np.ndarray) -> float:
    order = np.argsort(-p)
    y, p = y[order], p[order]
    last = np.flatnonzero(np.append(p[1:] != p[:-1], True))
    hits = np.cumsum(y)[last]
    return float(np.sum(np.diff(hits, prepend=0) * hits / (last + 1)) / y.sum())


def log_loss(y: np.ndarray, p: np.ndarray) -> float:
    return float(-np.log(np.where(y == 1, p, 1 - p)).mean())


def brier_score(y: np.ndarray, p: np.ndarray) -> float:
    return float(np.mean((p - y) ** 2))


def accuracy(y: np.ndarray, p: np.ndarray) -> float:
    return float(np.mean((p > 0.5) == y))


def recall(y: np.ndarray, p: np.ndarray) -> float:
    return float(np.mean(p[y == 1] > 0.5))


def precision(y: np.ndarray, p: np.ndarray) -> float:
    return float(np.mean(y[p > 0.5]))


def balanced_accuracy(y: np.ndarray, p: np.ndarray) -> float:
    return float((np.mean(p[y == 1] > 0.5) + np.mean(p[y == 0] <= 0.5)) / 2)


def f1(y: np.ndarray, p: np.ndarray) -> float:
    predicted = p > 0.5
    return float(2 * np.sum(predicted & (y == 1)) / (predicted.sum() + y.sum()))


def mean_absolute_error(y: np.ndarray, p: np.ndarray) -> float:
    return float(np.abs(y - p).mean())


def root_mean_squared_error(y: np.ndarray, p: np.ndarray) -> float:
    return float(np.sqrt(np.mean((y - p) ** 2)))


def mean_absolute_percentage_error(y: np.ndarray, p: np.ndarray) -> float:
    return float(np.mean(np.abs((y - p) / y)))


def r2(y: np.ndarray, p: np.ndarray) -> float:
    return float(1 - np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2))


CLASSIFICATION = (
    roc_auc,
    average_precision,
    log_loss,
    brier_score,
    accuracy,
    balanced_accuracy,
    f1,
    precision,
    recall,
)
REGRESSION = (mean_absolute_error, root_mean_squared_error, mean_absolute_percentage_error, r2)


def both(
    metric: Callable[[np.ndarray, np.ndarray], float],
    y: np.ndarray,
    candidate: np.ndarray,
    champion: np.ndarray,
    index: np.ndarray,
) -> tuple[float, float]:
    """Return the candidate's metric on these rows, and the difference to the champion's."""
    a = metric(y[index], candidate[index])
    return a, a - metric(y[index], champion[index])


def main() -> None:
    """Write the references beside this script."""
    found = {}
    for metrics, rows in ((CLASSIFICATION, classification()), (REGRESSION, regression())):
        y, candidate, champion = rows
        for metric in metrics:
            result = bootstrap(
                (np.arange(ROWS),),
                partial(both, metric, y, candidate, champion),
                n_resamples=RESAMPLES,
                vectorized=False,
                method="BCa",
                rng=np.random.default_rng(SEED),
            )
            interval = np.transpose(result.confidence_interval)
            found[metric.__name__] = {
                "candidate": list(map(float, interval[0])),
                "difference": list(map(float, interval[1])),
            }
            sys.stderr.write(f"{metric.__name__} {found[metric.__name__]}\n")
    text = {"rows": ROWS, "resamples": RESAMPLES, "scipy": scipy.__version__, "intervals": found}
    Path(__file__).with_name("bca.json").write_text(json.dumps(text, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
