"""The metrics that training and evaluation report. The gate computes its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import Pipeline

from model.features import FEATURES


def predict(model: Pipeline, frame: pd.DataFrame) -> Any:
    """Give what is measured of each row: the probability of the positive class."""
    return model.predict_proba(frame[FEATURES])[:, 1]


def measure(target: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """Compare it with what happened."""
    return {
        "roc_auc": float(roc_auc_score(target, predicted)),
        "log_loss": float(log_loss(target, predicted)),
        "brier": float(brier_score_loss(target, predicted)),
    }
