"""What a regression misses by: shown, not judged (the errors' metrics judge).

Residuals by prediction and their distribution are the usual diagnostic plots (Cook & Weisberg
1982, Residuals and Influence in Regression, chapter 3). A residual is target minus prediction:
positive where the model said too little. Weights are left out, since the plots show rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_actions.gate.predictions import PairedSet
from mlops_actions.gate.statistics.scored import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BINS = 20
"""Bins of predictions with as many rows each, and bins of residuals of one width."""

SHOWN = (0.005, 0.995)
"""Quantiles of both models' residuals that the bins of residuals lie between; the rest is counted
in the outermost ones."""


def of_set(one: PairedSet) -> list[dict[str, Any]]:
    """Return the rows of ``residuals`` in ``gate.json`` for the models of a set, best in pairs.

    Nothing for a classification, and for a model without numbers.
    """
    models: dict[str, Scored | None] = {"candidate": one.candidate, "champion": one.champion}
    known = {
        side: scored
        for side, scored in models.items()
        if scored is not None and not scored.labels and scored.prediction is not None
    }
    missed = {side: scored.truth() - scored.numbers() for side, scored in known.items()}
    if not len(one) or not missed:
        return []
    low, high = np.quantile(np.concatenate(list(missed.values())), SHOWN)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    return [
        {
            "set": one.name,
            "model": side,
            "bins": by_prediction(scored.numbers(), missed[side]),
            "histogram": {"edges": edges.tolist(), "shares": shares(missed[side], edges)},
        }
        for side, scored in known.items()
    ]


def by_prediction(predicted: Floats, missed: Floats) -> list[dict[str, float]]:
    """Return the residuals' 10th, 50th and 90th percentile in bins of the predictions.

    Args:
        predicted: (n,) predictions.
        missed: (n,) residuals, in the target's unit.

    """
    # Equal predictions stay in one bin, so that there are fewer bins where there are many ties.
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, BINS + 1)[1:-1]))
    places = np.searchsorted(edges, predicted, side="left")
    order = np.argsort(places, kind="stable")
    found = []
    for part in np.split(order, np.cumsum(np.bincount(places, minlength=len(edges) + 1))[:-1]):
        if len(part):
            low, middle, high = np.quantile(missed[part], [0.1, 0.5, 0.9])
            found.append(
                {
                    "rows": len(part),
                    "predicted": float(predicted[part].mean()),
                    "low": float(low),
                    "median": float(middle),
                    "high": float(high),
                }
            )
    return found


def shares(missed: Floats, edges: Floats) -> list[float]:
    """Return the share of residuals (n,) in each bin; the outermost bins are open."""
    places = np.clip(np.searchsorted(edges, missed, side="right") - 1, 0, len(edges) - 2)
    counted = np.bincount(places, minlength=len(edges) - 1) / len(missed)
    return [float(share) for share in counted]
