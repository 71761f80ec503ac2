"""The metrics that training and evaluation report. The gate computes its own."""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score


def measure(target: Sequence[int], probability: Sequence[float]) -> dict[str, float]:
    """Compare the probability of the positive class with what happened."""
    return {
        "roc_auc": float(roc_auc_score(target, probability)),
        "log_loss": float(log_loss(target, probability)),
        "brier": float(brier_score_loss(target, probability)),
    }
