"""The model: a small one is trained, kept, logged, and answers; the stages do with it what they say."""

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


@pytest.fixture(scope="module")
def sample(flights):
    return flights.sample(4_000, seed=0).to_pandas()


@pytest.fixture(scope="module")
def settings(params):
    return params["train"] | {"max_iter": 20}


@pytest.fixture(scope="module")
def model(sample, settings):
    return train.build(settings, settings["seed"]).fit(sample[FEATURES], sample[TARGET])


@pytest.fixture(scope="module")
def project(flights, sample, settings, tmp_path_factory):
    """A folder in which the stages train and evaluate have run."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "data").mkdir()
    sample.to_parquet(folder / "data" / "training.parquet")
    flights.sample(2_000, seed=1).write_parquet(folder / "data" / "development.parquet")
    (folder / "params.yaml").write_text(yaml.safe_dump({"train": settings}))
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


def test_probabilities_tell_late_from_punctual(model, sample):
    late = predict(model, sample)
    assert np.isfinite(late).all()
    assert late.min() >= 0
    assert late.max() <= 1
    assert late[sample[TARGET] == 1].mean() > late[sample[TARGET] == 0].mean() + 0.02


def test_an_unseen_carrier_gets_an_answer(model, sample):
    unseen = sample.head(3).assign(carrier="ZZ", dest="XXX")
    assert np.isfinite(predict(model, unseen)).all()


def test_measures_are_what_they_are_called():
    measured = measure([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    assert measured == pytest.approx(
        {"roc_auc": 0.75, "log_loss": 0.4723, "brier": 0.1581}, abs=1e-4
    )


def test_a_smoke_run_draws_its_rows_by_seed(sample):
    drawn = train.take_sample(sample, 0.05, seed=0)
    assert len(drawn) == 200
    assert drawn.equals(train.take_sample(sample, 0.05, seed=0))
    assert not drawn.equals(train.take_sample(sample, 0.05, seed=1))
    assert train.take_sample(sample, 1, seed=0) is sample


def test_a_seed_gives_the_same_bytes(model, sample, settings, tmp_path, monkeypatch):
    """Else DVC sees a change where there is none."""
    monkeypatch.chdir(tmp_path)
    again = train.build(settings, settings["seed"]).fit(sample[FEATURES], sample[TARGET])
    assert saved(again) == saved(model)


def test_the_kept_model_is_the_same(model, sample, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = saved(model)
    assert np.array_equal(predict(stored.load(), sample), predict(model, sample))
    elsewhere = "from model import stored; stored.save(stored.load())"
    variables = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", elsewhere], check=True, env=variables)
    assert stored.MODEL.read_bytes() == kept


def test_training_sees_the_whole_training_file(project, model, sample, monkeypatch):
    monkeypatch.chdir(project)
    assert np.allclose(predict(stored.load(), sample), predict(model, sample))


def test_evaluation_is_of_the_development_set(project, model):
    development = pd.read_parquet(project / "data" / "development.parquet")
    metrics = json.loads((project / "output" / "metrics.json").read_text())
    expected = measure(development[TARGET], predict(model, development))
    assert metrics == {"development": pytest.approx(expected, abs=1e-6)}
    curve = pd.read_csv(project / "output" / "calibration.csv")
    assert curve["predicted"].is_monotonic_increasing
    assert curve["observed"].mean() == pytest.approx(development[TARGET].mean(), abs=1e-3)


def test_the_logged_model_loads_and_has_a_signature(project, sample, monkeypatch):
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    (logged,) = mlflow.search_logged_models(output_format="list")
    (run,) = mlflow.search_runs(output_format="list")
    assert logged.source_run_id == run.info.run_id
    found = mlflow.models.get_model_info(logged.model_uri)
    assert found.signature.inputs.input_names() == FEATURES
    again = mlflow.sklearn.load_model(logged.model_uri)
    assert np.array_equal(predict(again, sample), predict(stored.load(), sample))
