"""The model: it is trained, kept, logged, and answers."""

import mlflow
import numpy as np
import pytest

from model import stored, train
from model.features import FEATURES, TARGET


@pytest.fixture(scope="module")
def model(rows, params):
    return train.build(params["train"], seed=0).fit(rows[FEATURES], rows[TARGET])


def test_probabilities_tell_the_classes_apart(model, rows):
    probability = model.predict_proba(rows[FEATURES])[:, 1]
    assert np.isfinite(probability).all()
    assert probability[rows[TARGET] == 1].mean() > probability[rows[TARGET] == 0].mean() + 0.5


def test_a_smoke_run_takes_a_share(rows):
    assert len(train.take_sample(rows, 0.5, seed=0)) == round(len(rows) / 2)
    assert train.take_sample(rows, 1, seed=0) is rows


def test_the_kept_model_is_the_same(model, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored.save(model)
    assert np.array_equal(
        stored.load().predict_proba(rows[FEATURES]), model.predict_proba(rows[FEATURES])
    )


def test_the_logged_model_loads_and_has_a_signature(model, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with mlflow.start_run() as run:
        train.log_model(model, rows[FEATURES].head(5))
    (logged,) = mlflow.search_logged_models(output_format="list")
    assert logged.source_run_id == run.info.run_id
    found = mlflow.models.get_model_info(logged.model_uri)
    assert found.signature.inputs.input_names() == FEATURES
    again = mlflow.sklearn.load_model(logged.model_uri)
    assert np.array_equal(
        again.predict_proba(rows[FEATURES]), model.predict_proba(rows[FEATURES])
    )
