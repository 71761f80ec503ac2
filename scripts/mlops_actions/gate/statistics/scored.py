"""One model's answers on one evaluation set, and the error for what cannot be computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Array = NDArray[Any]

T = TypeVar("T")

PROBABILITY_TOLERANCE = 1e-3
"""How far a row's probabilities may sum from one (float32 and rounded files)."""


class Undefined(ValueError):
    """A number that does not exist on these rows.

    Never a pass: whoever catches it reports the check as failed or inconclusive, with `reason`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What one model answered on an evaluation set of n rows.

    The two sides of a comparison have the same rows in the same order; pairing is the caller's.

    Attributes:
        target: (n,) the truth; for classification a code 0 … k-1, the position in `labels`, for
            regression a number.
        prediction: (n,) the answer, coded as the target.
        probability: (n, k) probability of each label, in the order of `labels`.
        labels: the k labels of a classification; empty for a regression.
        positive: position in `labels` of the positive class of a binary classification.
        quantiles: predicted quantiles by their level, each (n,).
        losses: the user's own loss per row by name (without `loss_`), each (n,).
        weight: (n,) weights of the rows, not negative, or None for equal ones.
        group: (n,) codes 0 … g-1 of the rows that belong together, or None for independent rows.

    """

    target: Array
    prediction: Array | None = None
    probability: Array | None = None
    labels: tuple[Any, ...] = ()
    positive: int = 1
    quantiles: Mapping[float, Array] = field(default_factory=dict)
    losses: Mapping[str, Array] = field(default_factory=dict)
    weight: Array | None = None
    group: Array | None = None
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.target)

    def kept(self, key: str, make: Callable[[], T]) -> T:
        """Return what `make` gave the first time, so that slices share the work of one pass."""
        if key not in self._kept:
            self._kept[key] = make()
        value: T = self._kept[key]
        return value

    def codes(self) -> Integers:
        """Return the target as codes (n,), for a classification.

        Raises:
            Undefined: a target that is no position in `labels`.

        """
        return self.kept("codes", lambda: _codes(self.target, len(self.labels), "target"))

    def answers(self) -> Integers:
        """Return the predictions as codes (n,), for a classification.

        Raises:
            Undefined: there are no predictions, or one is no position in `labels`.

        """
        if self.prediction is None:
            raise Undefined("there are no predictions (column `prediction`)")
        prediction = self.prediction
        return self.kept("answers", lambda: _codes(prediction, len(self.labels), "prediction"))

    def truth(self) -> Floats:
        """Return the target as numbers (n,), for a regression.

        Raises:
            Undefined: a target that is missing or infinite.

        """
        return self.kept("truth", lambda: _finite(self.target, "target"))

    def numbers(self) -> Floats:
        """Return the predictions as numbers (n,), for a regression.

        Raises:
            Undefined: there are no predictions, or one is missing or infinite.

        """
        if self.prediction is None:
            raise Undefined("there are no predictions (column `prediction`)")
        prediction = self.prediction
        return self.kept("numbers", lambda: _finite(prediction, "prediction"))

    def probabilities(self) -> Floats:
        """Return the probabilities (n, k).

        Raises:
            Undefined: there are none, one is not finite or not in [0, 1], or a row does not sum
                to one within `PROBABILITY_TOLERANCE`.

        """
        return self.kept("probabilities", self._probabilities)

    def _probabilities(self) -> Floats:
        if self.probability is None:
            raise Undefined("there are no probabilities (columns `probability_<label>`)")
        values = _finite(self.probability, "probability")
        if values.shape != (len(self), len(self.labels)):
            raise Undefined(
                f"probabilities have the shape {values.shape}, not one column for each of the "
                f"{len(self.labels)} labels"
            )
        if values.size:
            if values.min() < 0 or values.max() > 1:
                raise Undefined("a probability is outside [0, 1]")
            total = values[:, 0].copy()
            for column in range(1, values.shape[1]):
                total += values[:, column]
            if max(total.max() - 1, 1 - total.min()) > PROBABILITY_TOLERANCE:
                raise Undefined("a row's probabilities do not sum to one")
        return values

    def quantile(self, level: float) -> Floats:
        """Return the predicted quantile (n,) of this level.

        Raises:
            Undefined: it was not predicted, or a value is not finite.

        """
        given = min(self.quantiles, key=lambda other: abs(other - level), default=np.inf)
        if abs(given - level) > 1e-9:  # noqa: PLR2004
            raise Undefined(f"there is no quantile {level:g} (column `quantile_{level:g}`)")
        return self.kept(
            f"quantile {level!r}", lambda: _finite(self.quantiles[given], f"quantile_{level:g}")
        )

    def loss(self, name: str) -> Floats:
        """Return the user's own loss (n,) of this name.

        Raises:
            Undefined: it is not there, or a value is not finite.

        """
        if name not in self.losses:
            raise Undefined(f"there is no column `loss_{name}`")
        return self.kept(f"loss {name}", lambda: _finite(self.losses[name], f"loss_{name}"))

    def weights(self) -> Floats | None:
        """Return the weights (n,), or None when all rows count the same, however much.

        Raises:
            Undefined: a weight is missing, infinite or negative.

        """
        if self.weight is None:
            return None
        weight = self.weight
        values = self.kept("weights", lambda: _finite(weight, "weight"))
        if values.size and values.min() < 0:
            raise Undefined("a weight is negative")
        equal = self.kept("equal weights", lambda: bool((values == values[:1]).all()))
        return None if equal and values.size and values[0] > 0 else values

    def groups(self) -> Integers | None:
        """Return the group codes (n,), or None when rows are independent.

        Raises:
            Undefined: a row has no group.

        """
        if self.group is None:
            return None
        group = self.group
        return self.kept("groups", lambda: _codes(group, None, "group"))


def _finite(values: Array, name: str) -> Floats:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Undefined(f"a {name} is not a number") from error
    # The sum is finite whenever all are, except on overflow: look closer only when it is not.
    if not np.isfinite(numbers.sum()):
        bad = int(np.count_nonzero(~np.isfinite(numbers)))
        if bad:
            raise Undefined(f"{bad} of {numbers.size} values of {name} are missing or infinite")
    return numbers


def _codes(values: Array, count: int | None, name: str) -> Integers:
    codes = np.asarray(values)
    if codes.dtype.kind not in "iub":
        numbers = _finite(codes, name)
        codes = numbers.astype(np.int64)
        if not np.array_equal(codes, numbers):
            raise Undefined(f"a {name} is not a whole code")
    codes = codes.astype(np.int64, copy=False)
    if codes.size and (codes.min() < 0 or (count is not None and codes.max() >= count)):
        raise Undefined(f"a {name} is none of the labels" if count else f"a row has no {name}")
    return codes
