"""The model: it is trained, kept, logged, and answers; the stages do with it what they say."""

import json
import os
import subprocess
import sys

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PROJECT

from model import evaluate, stored, train
from model.features import FEATURES, TARGET
from model.measure import measure, predict
from model.prepare import split


@pytest.fixture(scope="module")
def parts(rows):
    return split(rows)


@pytest.fixture(scope="module")
def model(parts, params):
    training = parts["training"]
    settings = params["train"]
    return train.build(settings, settings["seed"]).fit(training[FEATURES], training[TARGET])


@pytest.fixture(scope="module")
def project(parts, params, tmp_path_factory):
    """A folder in which the stages train and evaluate have run."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "data").mkdir()
    for name in ("training", "development"):
        parts[name].to_parquet(folder / "data" / f"{name}.parquet", index=False)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MLFLOW_TRACKING_URI", "MLOPS_SAMPLE", "MLOPS_SEED"):
            patch.delenv(name, raising=False)
        train.main()
        evaluate.main()
    return folder


def saved(model) -> bytes:
    stored.save(model)
    return stored.MODEL.read_bytes()


def test_probabilities_tell_the_classes_apart(model, rows):
    """Yours: what the answers of any good model have in common."""
    probability = predict(model, rows)
    assert np.isfinite(probability).all()
    assert probability[rows[TARGET] == 1].mean() > probability[rows[TARGET] == 0].mean() + 0.5


def test_measures_are_what_they_are_called():
    """Yours: a few numbers of which you know the answer."""
    measured = measure([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    assert measured == pytest.approx(
        {"roc_auc": 0.75, "log_loss": 0.4723, "brier": 0.1581}, abs=1e-4
    )


def test_a_smoke_run_draws_its_rows_by_seed(rows):
    drawn = train.take_sample(rows, 0.5, seed=0)
    assert len(drawn) == round(len(rows) / 2)
    assert drawn.equals(train.take_sample(rows, 0.5, seed=0))
    assert not drawn.equals(train.take_sample(rows, 0.5, seed=1))
    assert train.take_sample(rows, 1, seed=0) is rows


def test_a_seed_gives_the_same_bytes(model, parts, params, tmp_path, monkeypatch):
    """Else DVC sees a change where there is none."""
    monkeypatch.chdir(tmp_path)
    training, settings = parts["training"], params["train"]
    again = train.build(settings, settings["seed"]).fit(training[FEATURES], training[TARGET])
    assert saved(again) == saved(model)


def test_the_kept_model_is_the_same(model, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = saved(model)
    assert np.array_equal(predict(stored.load(), rows), predict(model, rows))
    elsewhere = "from model import stored; stored.save(stored.load())"
    variables = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", elsewhere], check=True, env=variables)
    assert stored.MODEL.read_bytes() == kept


def test_training_sees_the_whole_training_file(project, model, rows, monkeypatch):
    monkeypatch.chdir(project)
    assert np.allclose(predict(stored.load(), rows), predict(model, rows))


def test_evaluation_is_of_the_development_set(project, parts, model):
    development = parts["development"]
    metrics = json.loads((project / "output" / "metrics.json").read_text())
    expected = measure(development[TARGET], predict(model, development))
    assert metrics == {"development": pytest.approx(expected, abs=1e-6)}
    curve = pd.read_csv(project / "output" / "calibration.csv")
    assert curve["predicted"].is_monotonic_increasing


def test_the_logged_model_loads_and_has_a_signature(project, rows, monkeypatch):
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    (logged,) = mlflow.search_logged_models(output_format="list")
    (run,) = mlflow.search_runs(output_format="list")
    assert logged.source_run_id == run.info.run_id
    found = mlflow.models.get_model_info(logged.model_uri)
    assert found.signature.inputs.input_names() == FEATURES
    again = mlflow.sklearn.load_model(logged.model_uri)
    assert np.array_equal(predict(again, rows), predict(stored.load(), rows))
