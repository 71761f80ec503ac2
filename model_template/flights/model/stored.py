"""The trained model as a file of the pipeline."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import skops.io
from sklearn.pipeline import Pipeline

MODEL = Path("output/model.skops")

# skops loads no type that it does not know. These are scikit-learn's own.
TRUSTED = [
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.model_selection._split.StratifiedKFold",
]


def save(model: Pipeline) -> None:
    """Keep the model for the stages that follow: the same model as the same bytes.

    skops stamps the time, and names parts after Python's ids, which are others in each process: DVC
    would see a change where there is none. So parts get numbers, and the time is that of ZipInfo.
    """
    MODEL.parent.mkdir(exist_ok=True)
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}

    def renumber(node: dict[str, Any]) -> dict[str, Any]:
        if isinstance(number := node.get("__id__"), int):
            node["__id__"] = numbers.setdefault(number, len(numbers))
        if isinstance(name := node.get("file"), str):
            node["file"] = files.setdefault(name, f"{len(files)}{Path(name).suffix}")
        return node

    with ZipFile(BytesIO(skops.io.dumps(model))) as made, ZipFile(MODEL, "w") as kept:
        schema = json.loads(made.read("schema.json"), object_hook=renumber)
        kept.writestr(ZipInfo("schema.json"), json.dumps(schema, indent=2))
        for name, numbered in files.items():
            kept.writestr(ZipInfo(numbered), made.read(name))


def load() -> Pipeline:
    """Load what ``save`` kept."""
    return skops.io.load(MODEL, trusted=TRUSTED)
