"""The model: a small one is trained, kept, logged, and answers."""

import mlflow
import numpy as np
import pytest

from model import stored, train
from model.features import FEATURES, TARGET


@pytest.fixture(scope="module")
def sample(flights):
    return flights.sample(4_000, seed=0).to_pandas()


@pytest.fixture(scope="module")
def model(sample, params):
    return train.build(params["train"] | {"max_iter": 20}, seed=0).fit(
        sample[FEATURES], sample[TARGET]
    )


def test_probabilities_tell_late_from_punctual(model, sample):
    late = model.predict_proba(sample[FEATURES])[:, 1]
    assert np.isfinite(late).all()
    assert late.min() >= 0
    assert late.max() <= 1
    assert late[sample[TARGET] == 1].mean() > late[sample[TARGET] == 0].mean() + 0.02


def test_an_unseen_carrier_gets_an_answer(model, sample):
    unseen = sample[FEATURES].head(3).assign(carrier="ZZ", dest="XXX")
    assert np.isfinite(model.predict_proba(unseen)).all()


def test_a_seed_gives_the_same_model(model, sample, params):
    again = train.build(params["train"] | {"max_iter": 20}, seed=0).fit(
        sample[FEATURES], sample[TARGET]
    )
    assert np.array_equal(
        again.predict_proba(sample[FEATURES]), model.predict_proba(sample[FEATURES])
    )


def test_a_smoke_run_takes_a_share(sample):
    assert len(train.take_sample(sample, 0.05, seed=0)) == 200
    assert train.take_sample(sample, 1, seed=0) is sample


def test_the_kept_model_is_the_same(model, sample, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored.save(model)
    assert np.array_equal(
        stored.load().predict_proba(sample[FEATURES]), model.predict_proba(sample[FEATURES])
    )


def test_the_logged_model_loads_and_has_a_signature(model, sample, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with mlflow.start_run() as run:
        train.log_model(model, sample[FEATURES].head(5))
    (logged,) = mlflow.search_logged_models(output_format="list")
    assert logged.source_run_id == run.info.run_id
    found = mlflow.models.get_model_info(logged.model_uri)
    assert found.signature.inputs.input_names() == FEATURES
    again = mlflow.sklearn.load_model(logged.model_uri)
    assert np.array_equal(
        again.predict_proba(sample[FEATURES]), model.predict_proba(sample[FEATURES])
    )
