"""How far probabilities can be believed: shown, not judged (Brier and log loss judge).

Expected calibration error in bins of equal size: Nguyen & O'Connor 2015 (EMNLP), the binning of
scikit-learn's ``calibration_curve(strategy="quantile")``. It is biased upward and depends on the
bins, so no rule is built on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_actions.gate.predictions import PairedSet
from mlops_actions.gate.statistics.scored import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BINS = 10


def of_set(one: PairedSet) -> list[dict[str, Any]]:
    """Return the rows of ``calibration`` in ``gate.json`` for the models of a set."""
    found = []
    for side in ("candidate", "champion"):
        scored: Scored | None = getattr(one, side)
        if scored is not None and scored.probability is not None:
            found.append({"set": one.name, "model": side, **reliability(scored)})
    return found


def reliability(scored: Scored) -> dict[str, Any]:
    """Return the expected calibration error and what it is the mean of.

    Gives ``of`` (what the probabilities are of), ``expected_calibration_error`` and ``bins``, each
    with ``rows``, mean ``predicted`` probability and ``observed`` share; all are weighted.

    Raises `Undefined` where a probability is no number or out of range.

    With two labels it is about the positive class, with more about the most likely one.
    """
    probabilities, codes = scored.probabilities(), scored.codes()
    if len(scored.labels) == 2:  # noqa: PLR2004
        of, said = "positive class", probabilities[:, scored.positive]
        happened = codes == scored.positive
    else:
        of, best = "most likely class", probabilities.argmax(axis=1)
        said = probabilities[np.arange(len(codes)), best]
        happened = codes == best
    given = scored.weights()
    weights = np.ones(len(codes)) if given is None else given
    # Equal probabilities stay in one bin, so that there are fewer bins where there are many ties.
    edges = np.unique(np.quantile(said, np.linspace(0, 1, BINS + 1)[1:-1]))
    places = np.searchsorted(edges, said, side="left")
    size = len(edges) + 1
    total, predicted, observed = (
        np.bincount(places, weights=values, minlength=size)
        for values in (weights, weights * said, weights * happened)
    )
    kept = total > 0
    rows = np.bincount(places, minlength=size)[kept]
    means, shares = predicted[kept] / total[kept], observed[kept] / total[kept]
    error = float(total[kept] @ np.abs(means - shares) / total.sum())
    bins = zip(rows, means, shares, strict=True)
    return {
        "of": of,
        "expected_calibration_error": error,
        "bins": [
            {"rows": int(count), "predicted": float(mean), "observed": float(share)}
            for count, mean, share in bins
        ],
    }
