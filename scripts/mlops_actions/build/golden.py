"""Golden rows: requests with the answers that the registry's model gives to them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import polars as pl

from mlops_actions import config, evidence, github, project
from mlops_actions.errors import Failure

_ID = "mlops_row"
_TIMEOUT = 600  # Seconds for the reference predictions of an example.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Golden:
    """Rows by name, and for each what must come out."""

    records: list[dict[str, Any]]
    predictions: list[Any]
    probabilities: dict[str, list[float]]
    source: str

    def requests(self) -> list[dict[str, Any]]:
        """One body for all rows, then one for each row."""
        return [{"records": self.records}, *({"records": [record]} for record in self.records)]


def find(loaded: config.Project, work: Path) -> Golden | None:
    """The golden rows kept with the version, else its input example; ``None`` without either.

    Kept rows (``golden.json``, written by the stage ``score``) need no user code here. For an input
    example, the registry's model is loaded in an environment of its own requirements.
    """
    kept = work / "evidence" / "golden.json"
    if kept.is_file():
        return _read(work / "evidence")
    example = work / "model" / "serving_input_example.json"
    if not example.is_file():
        return None
    records = _records(json.loads(example.read_text(encoding="utf-8")))
    return _predicted(loaded, work, records) if records else None


def _read(folder: Path) -> Golden:
    path = folder / "golden.json"
    named = {
        item["name"]: item["digest"]["sha256"]
        for item in evidence.read_json(folder / "score.json")["subject"]
    }
    if named.get("golden.json") != evidence.sha256_file(path):
        raise Failure("These are not the golden rows that were scored.", file=path)
    document = evidence.read_json(path)
    return Golden(
        records=document["records"],
        predictions=document["predictions"],
        probabilities=document.get("probabilities", {}),
        source="golden.json",
    )


def _records(document: dict[str, Any]) -> list[dict[str, Any]]:
    split = document.get("dataframe_split")
    if isinstance(split, dict):
        return [dict(zip(split["columns"], row, strict=True)) for row in split["data"]]
    found = document.get("dataframe_records")
    return found if isinstance(found, list) else []


def _predicted(loaded: config.Project, work: Path, records: list[dict[str, Any]]) -> Golden:
    github.info(f"No golden rows were kept: the model predicts its {len(records)} examples")
    environment = project.prepare(loaded)
    own = project.prepare_for_model(work / "model", loaded, environment)
    folder = work / "golden"
    folder.mkdir(exist_ok=True)
    rows, output = folder / "rows.parquet", folder / "predictions.parquet"
    frame = pl.DataFrame(records, infer_schema_length=None)
    frame.with_columns(pl.Series(_ID, range(len(records)))).write_parquet(rows)
    project.ask_runner(
        own,
        "score",
        cwd=loaded.folder,
        timeout=_TIMEOUT,
        model=str((work / "model").resolve()),
        files=[str(rows.resolve())],
        output=str(output.resolve()),
        id=_ID,
        labels=loaded.config.labels,
        function=loaded.config.score,
        not_features=[_ID],
    )
    table = pl.read_parquet(output).sort("id")
    prefix = "probability_"
    return Golden(
        records=records,
        predictions=table["prediction"].to_list(),
        probabilities={
            name.removeprefix(prefix): table[name].to_list()
            for name in table.columns
            if name.startswith(prefix)
        },
        source="input example",
    )


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
