"""What models said of rows that were changed on purpose, read with distrust."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mlops_actions.config import Config
from mlops_actions.errors import Failure
from mlops_actions.gate.predictions import probability_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_UNREADABLE = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """One model's answers to n rows.

    Attributes:
        prediction: (n,) labels or numbers, as they came.
        probability: (n, k) in the order of the labels, or ``None``.
        positive: place of the positive label.

    """

    prediction: Array
    probability: Array | None
    positive: int

    def __getitem__(self, rows: Array) -> Answers:
        """Give the answers to some rows."""
        probability = None if self.probability is None else self.probability[rows]
        return dataclasses.replace(self, prediction=self.prediction[rows], probability=probability)

    def number(self, config: Config) -> Array | None:
        """Give (n,) what can rise and fall: the positive label's probability, or the number."""
        if not config.labels:
            return self.prediction.astype(np.float64)
        return None if self.probability is None else self.probability[:, self.positive]

    def moved(self, other: Answers, config: Config) -> Array:
        """Give (n,) how far each answer lies from the other; another label counts as 1."""
        if not config.labels:
            return np.abs(self.prediction.astype(np.float64) - other.prediction.astype(np.float64))
        if self.probability is None or other.probability is None:
            return np.asarray(self.prediction != other.prediction, dtype=np.float64)
        return np.asarray(np.abs(self.probability - other.probability).max(axis=1))


def read_frame(path: Path, what: str) -> pl.DataFrame:
    """Read a Parquet file of the job ``model``; a :class:`Failure` names what cannot be read."""
    if not path.is_file():
        raise Failure(f"{what} is missing.")
    try:
        return pl.read_parquet(path, glob=False, hive_partitioning=False)
    except _UNREADABLE as problem:
        reason = str(problem).partition("\n")[0]
        raise Failure(f"{what} cannot be read as Parquet: {reason}.") from None


def read_answers(path: Path, config: Config, rows: int, side: str) -> Answers:
    """Read a model's answers to the changed rows.

    Raises :class:`Failure` where one is missing or no number, or the rows are not ``rows`` many.
    """
    frame = read_frame(path, f"What the {side} says of changed rows")
    if frame.height != rows:
        raise Failure(f"The {side} answered {frame.height} of {rows} changed rows.")
    if "prediction" not in frame.columns or frame["prediction"].null_count():
        raise Failure(f"The {side} gave no prediction for some changed rows.")
    prediction = frame["prediction"].to_numpy()
    probability = None
    labels = config.labels or []
    try:
        options = [probability_names(label) for label in labels]
        names = [name for some in options for name in some if name in frame.columns]
        if labels and len(names) == len(labels):
            probability = frame.select(pl.col(names).cast(pl.Float64)).to_numpy()
        elif len(labels) == 2 and "probability" in frame.columns:  # noqa: PLR2004
            known = frame["probability"].cast(pl.Float64).to_numpy()
            both = [1 - known, known] if config.positive == labels[1] else [known, 1 - known]
            probability = np.column_stack(both)
        elif not labels:
            prediction = frame["prediction"].cast(pl.Float64).to_numpy()
    except pl.exceptions.PolarsError:
        raise Failure(f"An answer of the {side} to a changed row is no number.") from None
    checked = probability if probability is not None else prediction if not labels else None
    if checked is not None and not np.isfinite(checked).all():
        raise Failure(f"An answer of the {side} to a changed row is no number.")
    positive = labels.index(config.positive) if config.positive in labels else 0
    return Answers(prediction=prediction, probability=probability, positive=positive)
