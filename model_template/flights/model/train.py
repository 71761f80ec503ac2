"""Stage train: fit the model, and log it to MLflow.

Where to: MLFLOW_TRACKING_URI, as the workflows set it; else mlflow.db in this folder.
A quick run on a sample: MLOPS_SAMPLE=0.05 MLOPS_SEED=1 python -m model.train
"""

from __future__ import annotations

import os
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import pandas as pd
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder

from model.features import CATEGORIES, FEATURES, NUMBERS, TARGET
from model.measure import measure, predict
from model.stored import TRUSTED, save

# What the model needs where it is scored or served: nothing of the pipeline.
REQUIREMENTS = ["mlflow-skinny", "numpy", "pandas", "scikit-learn", "skops"]


def build(params: dict[str, Any], seed: int) -> Pipeline:
    """Make the model, not fitted. It is scikit-learn's alone, so it loads without this code."""
    encode = ColumnTransformer(
        [
            # The share of late flights of each carrier and airport, learned out of fold; one that
            # was never seen gets the share of all.
            (
                "categories",
                TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=seed)),
                CATEGORIES,
            ),
            ("numbers", "passthrough", NUMBERS),
        ]
    )
    boost = HistGradientBoostingClassifier(
        learning_rate=params["learning_rate"],
        max_iter=params["max_iter"],
        max_leaf_nodes=params["max_leaf_nodes"],
        min_samples_leaf=params["min_samples_leaf"],
        early_stopping=False,  # It would hold back rows of the same days.
        random_state=seed,
    )
    return Pipeline([("encode", encode), ("boost", boost)])


def take_sample(frame: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Give a share of the rows, as a smoke run asks for; all of them otherwise."""
    return frame if share >= 1 else frame.sample(frac=share, random_state=seed)


def log_model(model: Pipeline, example: pd.DataFrame) -> None:
    """Log the one model of the run, with signature, example and exact requirements."""
    # Integers may be required: the schema of the data allows no nulls.
    warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer")
    mlflow.sklearn.log_model(
        model,
        name="model",
        signature=mlflow.models.infer_signature(example, model.predict(example)),
        input_example=example,
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        skops_trusted_types=TRUSTED,
    )


def main() -> None:
    """Train as params.yaml says."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]
    share = float(os.environ.get("MLOPS_SAMPLE", "1"))
    seed = int(os.environ.get("MLOPS_SEED", params["seed"]))
    training = take_sample(pd.read_parquet("data/training.parquet"), share, seed)
    development = pd.read_parquet("data/development.parquet")

    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri("sqlite:///mlflow.db")
    with mlflow.start_run():
        mlflow.log_params(params | {"seed": seed, "sample": share, "rows": len(training)})
        model = build(params, seed).fit(training[FEATURES], training[TARGET])
        measured = measure(development[TARGET], predict(model, development))
        metrics = {f"development_{name}": value for name, value in measured.items()}
        mlflow.log_metrics(metrics)
        log_model(model, training[FEATURES].head(50))  # The image must predict these alike.
    save(model)
    print(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    main()
