"""Known-bad answers, made from a model's own: what the self-test shows to the policy.

Each function takes the answers of one model to n rows and gives those of a worse one, of the same
shapes. ``rows`` are positions (m,) of the rows that are spoiled; the others stay as they are.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_actions.gate.statistics.scored import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Rows = NDArray[np.int64]


def permuted(scored: Scored, rows: Rows, seed: int) -> Scored:
    """Exchange whole answers among these rows."""
    order = np.arange(len(scored))
    order[rows] = np.random.default_rng(seed).permutation(rows)
    return dataclasses.replace(
        scored,
        prediction=None if scored.prediction is None else scored.prediction[order],
        probability=None if scored.probability is None else scored.probability[order],
        quantiles={level: values[order] for level, values in scored.quantiles.items()},
        losses={name: values[order] for name, values in scored.losses.items()},
    )


def constant(scored: Scored) -> Scored:
    """Answer every row with what is best without looking: the commonest class, or the mean."""
    count = len(scored)
    if not scored.labels:
        return dataclasses.replace(
            scored,
            prediction=np.full(count, scored.target.mean()),
            quantiles={
                level: np.full(count, np.quantile(scored.target, level))
                for level in scored.quantiles
            },
        )
    shares = np.bincount(scored.target, minlength=len(scored.labels)) / count
    return dataclasses.replace(
        scored,
        prediction=np.full(count, int(shares.argmax())),
        probability=None if scored.probability is None else np.tile(shares, (count, 1)),
    )


def missing(scored: Scored) -> Scored:
    """Answer one row with nothing."""

    def spoil(values: Array) -> Array:
        spoiled = values.astype(np.float64)
        spoiled[0] = np.nan
        return spoiled

    return dataclasses.replace(
        scored,
        prediction=None if scored.prediction is None else spoil(scored.prediction),
        probability=None if scored.probability is None else spoil(scored.probability),
        quantiles={level: spoil(values) for level, values in scored.quantiles.items()},
        losses={name: spoil(values) for name, values in scored.losses.items()},
    )


def copied(scored: Scored) -> Scored:
    """Answer every row with the truth."""
    probability = None
    if scored.probability is not None:
        probability = np.eye(len(scored.labels))[scored.target]
    return dataclasses.replace(
        scored,
        prediction=scored.target.copy(),
        probability=probability,
        quantiles={level: scored.target.copy() for level in scored.quantiles},
    )


def worst(scored: Scored, rows: Rows) -> Scored:
    """Deny these rows the positive class, or miss their truth by twice its spread."""
    prediction = None if scored.prediction is None else scored.prediction.copy()
    if not scored.labels:
        if prediction is not None:
            prediction[rows] += 2 * scored.target.std()
        return dataclasses.replace(scored, prediction=prediction)
    other = next(place for place in range(len(scored.labels)) if place != scored.positive)
    if prediction is not None:
        prediction[rows] = other
    probability = None if scored.probability is None else scored.probability.copy()
    if probability is not None:
        probability[rows] = np.eye(len(scored.labels))[other]
    return dataclasses.replace(scored, prediction=prediction, probability=probability)


def sharpened(scored: Scored) -> Scored:
    """Cube the odds: the same order and labels, far too sure."""
    if scored.probability is None:
        return scored
    cubed = np.clip(scored.probability, 1e-12, 1) ** 3
    return dataclasses.replace(scored, probability=cubed / cubed.sum(axis=1, keepdims=True))


def relabelled(scored: Scored) -> Scored:
    """Keep the probabilities and answer with the next class."""
    if scored.prediction is None:
        return scored
    return dataclasses.replace(
        scored, prediction=(scored.prediction + 1) % max(len(scored.labels), 1)
    )


def shifted(scored: Scored) -> Scored:
    """Add half the target's spread to every number."""
    if scored.prediction is None:
        return scored
    return dataclasses.replace(scored, prediction=scored.prediction + scored.target.std() / 2)


def with_outliers(scored: Scored, seed: int) -> Scored:
    """Miss one row in a hundred by ten times the target's spread."""
    if scored.prediction is None:
        return scored
    prediction = scored.prediction.copy()
    rows = np.random.default_rng(seed).random(len(scored)) < 0.01  # noqa: PLR2004
    prediction[rows] += 10 * scored.target.std()
    return dataclasses.replace(scored, prediction=prediction)


def turned(scored: Scored, rows: Rows) -> Scored:
    """Turn the answers to these rows round: the next class, or the far side of the mean."""
    prediction = None if scored.prediction is None else scored.prediction.copy()
    probability = None if scored.probability is None else scored.probability.copy()
    if scored.labels:
        if prediction is not None:
            prediction[rows] = (prediction[rows] + 1) % len(scored.labels)
        if probability is not None:
            probability[rows] = np.roll(probability[rows], 1, axis=1)
        return dataclasses.replace(scored, prediction=prediction, probability=probability)
    mean, spread = scored.target.mean(), scored.target.std()
    if prediction is not None:
        prediction = prediction.astype(np.float64)
        prediction[rows] = mean - 2 * (prediction[rows] - mean) + 2 * spread
    quantiles = {level: values.astype(np.float64) for level, values in scored.quantiles.items()}
    for level, values in quantiles.items():
        values[rows] += (3 if level < 0.5 else -3) * spread  # noqa: PLR2004 - the dear side.
    return dataclasses.replace(scored, prediction=prediction, quantiles=quantiles)


def granted(scored: Scored, rows: Rows) -> Scored:
    """Give these rows the positive class, all of them."""
    if not scored.labels:
        return turned(scored, rows)
    prediction = None if scored.prediction is None else scored.prediction.copy()
    probability = None if scored.probability is None else scored.probability.copy()
    if prediction is not None:
        prediction[rows] = scored.positive
    if probability is not None:
        probability[rows] = np.eye(len(scored.labels))[scored.positive]
    return dataclasses.replace(scored, prediction=prediction, probability=probability)


def dearer(scored: Scored, *, greater: bool) -> Scored:
    """Make the user's own losses ten times as bad; ``greater`` ones are the better."""
    return dataclasses.replace(
        scored,
        losses={
            name: values + (-10 if greater else 10) * (abs(values.mean()) + values.std())
            for name, values in scored.losses.items()
        },
    )
