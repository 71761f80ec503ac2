"""The trained model as a file of the pipeline."""

from pathlib import Path

import skops.io
from sklearn.pipeline import Pipeline

MODEL = Path("output/model.skops")

# skops loads no type that it does not know. Yours: types that your model has, and that you trust.
TRUSTED: list[str] = []


def save(model: Pipeline) -> None:
    """Keep the model for the stages that follow."""
    MODEL.parent.mkdir(exist_ok=True)
    skops.io.dump(model, MODEL)


def load() -> Pipeline:
    """Load what ``save`` kept."""
    return skops.io.load(MODEL, trusted=TRUSTED)
