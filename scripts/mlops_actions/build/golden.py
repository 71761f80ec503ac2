"""Golden rows: requests with the answers that the registry's model gave when it was judged."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence
from mlops_actions.errors import Failure
from mlops_actions.score import GOLDEN


@dataclasses.dataclass(frozen=True, kw_only=True)
class Golden:
    """Rows by name, and for each what must come out."""

    records: list[dict[str, Any]]
    predictions: list[Any]
    probabilities: dict[str, list[float]]

    def requests(self) -> list[dict[str, Any]]:
        """One body for all rows, then one for each row."""
        return [{"records": self.records}, *({"records": [record]} for record in self.records)]


def find(kept: Path) -> Golden | None:
    """The golden rows among a version's evidence; ``None`` without any.

    They are the model's input example and what it predicted when it was judged, so that nothing of
    the model's runs outside of the container. Raises :class:`Failure` when they are not those that
    the evidence names.
    """
    path = kept / GOLDEN
    if not path.is_file():
        return None
    subjects = evidence.read_json(kept / "score.json").get("subject", [])
    if evidence.subject(GOLDEN, evidence.sha256_file(path)) not in subjects:
        raise Failure("These are not the golden rows that were scored.", file=path)
    document = evidence.read_json(path)
    records, predictions = document.get("records"), document.get("predictions")
    probabilities = document.get("probabilities")
    if (
        not (isinstance(records, list) and records)
        or not (isinstance(predictions, list) and len(predictions) == len(records))
        or not isinstance(probabilities, dict)
        or not all(isinstance(v, list) and len(v) == len(records) for v in probabilities.values())
    ):
        raise Failure("Expected records, and a prediction for each.", file=path)
    return Golden(records=records, predictions=predictions, probabilities=probabilities)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """How far two answers lie apart."""

    largest: float  # Absolute difference of two numbers; infinity where words differ.
    problem: str | None  # The first one beyond the tolerance.


def compare(golden: Golden, answer: dict[str, Any], tolerance: config.Parity) -> Difference:
    """Compare an answer for all rows with what is expected.

    A number may differ by ``absolute + relative * |expected|``; a label may not differ.
    """
    pairs = [("prediction", golden.predictions, answer.get("predictions"))]
    given = answer.get("probabilities") or {}
    for label, expected in golden.probabilities.items():
        pairs.append((f"probability of {label}", expected, given.get(label)))
    largest, problem = 0.0, None
    for name, expected, got in pairs:
        if not isinstance(got, list) or len(got) != len(expected):
            return Difference(largest=math.inf, problem=f"no {name} for each row")
        for row, (one, other) in enumerate(zip(expected, got, strict=True)):
            distance = _distance(one, other)
            largest = max(largest, distance)
            scale = abs(one) if isinstance(one, (int, float)) else 0
            allowed = tolerance.absolute + tolerance.relative * scale
            if not distance <= allowed and problem is None:
                problem = f"{name}, row {row}: {other!r} instead of {one!r}"
    return Difference(largest=largest, problem=problem)


def _distance(one: Any, other: Any) -> float:
    numbers = (int, float)
    if isinstance(one, bool) or not isinstance(one, numbers):
        return 0.0 if type(one) is type(other) and one == other else math.inf
    if isinstance(other, bool) or not isinstance(other, numbers):
        return math.inf
    distance = abs(float(one) - float(other))
    return distance if math.isfinite(distance) else math.inf
