"""The model: loaded as the stage ``score`` loads it, and asked in the same way."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

from .inputs import Refused, Signature, Table, read
from .logs import LOGGER

_DTYPES = {
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "boolean": "bool",
    "datetime": "datetime64[ns]",
    "binary": "object",
}


class Model:
    """A model in MLflow's format.

    A classifier that knows ``predict_proba`` answers with the most probable class and every class'
    probability; any other model with what its pyfunc predicts.
    """

    def __init__(self, folder: Path) -> None:
        import yaml

        described = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        self.folder = folder
        signature = described.get("signature") or {}
        self.signature = Signature.parse(signature.get("inputs"))
        loader = described.get("flavors", {}).get("python_function", {}).get("loader_module", "")
        self._classifier = self._load_classifier(loader)
        self._pyfunc: Any = None
        if self._classifier is None:
            import mlflow.pyfunc

            self._pyfunc = mlflow.pyfunc.load_model(str(folder))

    def _load_classifier(self, loader: str) -> Any:
        if not loader.startswith("mlflow.") or loader.startswith("mlflow.pyfunc"):
            return None
        load = getattr(importlib.import_module(loader), "load_model", None)
        native = load(str(self.folder)) if load else None
        has_both = hasattr(native, "predict_proba") and hasattr(native, "classes_")
        return native if has_both else None

    def example(self) -> bytes | None:
        """The body of a request with the model's input example, when it was logged with one.

        MLflow writes NaN for what is missing; JSON has null.
        """
        path = self.folder / "serving_input_example.json"
        if not path.is_file():
            return None
        document = json.loads(path.read_text(encoding="utf-8"))
        return json.dumps(_without_nan(document), ensure_ascii=False).encode()

    def warm_up(self) -> bool:
        """Predict the input example once; say whether there was one that a request can hold.

        The first prediction imports and compiles what the others then find.
        """
        body = self.example()
        if body is None:
            return False
        try:
            table = read(body, self.signature, max_rows=1 << 20)
        except Refused as refusal:  # MLflow's own forms are more; the model is not to blame.
            problems = [f"{one.field}: {one.message}" for one in refusal.problems[:3]]
            LOGGER.warning("the input example fits no request: %s", [refusal.message, *problems])
            return False
        self.predict(table)
        return True

    def predict(self, table: Table) -> dict[str, Any]:
        """Give ``predictions`` and, of a classifier, ``probabilities`` by class; JSON values.

        Raises ``ValueError`` when the model answers with another number of rows, or with a number
        that is not finite.
        """
        features = self._features(table)
        if self._classifier is not None:
            matrix = self._classifier.predict_proba(features)
            classes = self._classifier.classes_
            answer = {
                "predictions": classes[matrix.argmax(axis=1)].tolist(),
                "probabilities": {
                    str(label): matrix[:, index].tolist()
                    for index, label in enumerate(classes.tolist())
                },
            }
        else:
            answer = {"predictions": _rows(self._pyfunc.predict(features))}
        if len(answer["predictions"]) != table.rows:
            raise ValueError(f"{table.rows} rows went in, {len(answer['predictions'])} came out")
        if not _finite(answer):
            raise ValueError("the model answered with a number that is not finite")
        json.dumps(answer, ensure_ascii=False).encode()  # What is no JSON is said here, in the log.
        return answer

    def _features(self, table: Table) -> Any:
        if table.tensor is not None:
            import numpy as np

            return np.asarray(table.tensor, dtype=self.signature.dtype)
        import pandas as pd

        return pd.DataFrame(
            {
                name: pd.Series(values, dtype=_DTYPES.get(table.types.get(name, "")))
                for name, values in table.columns.items()
            }
        )


def _rows(answer: Any) -> list[Any]:
    if hasattr(answer, "to_dict") and hasattr(answer, "columns"):
        names = list(answer.columns)
        if len(names) > 1:
            records: list[Any] = json.loads(answer.to_json(orient="records"))
            return records
        answer = answer[names[0]]
    if hasattr(answer, "to_numpy"):
        answer = answer.to_numpy()
    if len(getattr(answer, "shape", (0,))) > 1 and answer.shape[1] == 1:
        answer = answer[:, 0]
    return list(answer.tolist() if hasattr(answer, "tolist") else answer)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    if isinstance(value, list):
        return all(_finite(item) for item in value)
    return True
