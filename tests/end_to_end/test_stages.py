"""Validate, train and score on a tiny project, in its own real environment: what goes wrong."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Consumer
from test_server import misbehaving

from mlops_actions import cli, evidence, exported_run, score, train, validate
from mlops_actions.errors import Failure

pytestmark = pytest.mark.slow

CONFIG = """\
name: tiny
task: classification
target: y
labels: [0, 1]
id: id
data: {training: training.csv, evaluation: evaluation.csv}
train: {command: python job.py, timeout: 300s}
gate: {bootstrap: allow, metrics: {roc_auc: {threshold: 0.5}}}
"""
LOG = """\
import mlflow, mlflow.sklearn, pandas as pd
from sklearn.linear_model import LogisticRegression
data = pd.read_csv("training.csv")
model = LogisticRegression().fit(data[["x"]], data["y"])
def log(name="model"):
    mlflow.sklearn.log_model(model, name=name, input_example=data[["x"]].head(3))
"""


@pytest.fixture
def tiny(generated: Consumer) -> Consumer:
    """A project with two columns, in the environment that the template's lock describes."""
    rows = "".join(f"{n},{n % 7},{int(n % 7 > 3)}\n" for n in range(200))
    for name in ("training", "evaluation"):
        (generated.folder / f"{name}.csv").write_text(f"id,x,y\n{rows}")
    (generated.folder / "mlops.yaml").write_text(CONFIG)
    generated.commit("A tiny model")
    return generated


class Stages:
    """The stages of the job `model`, one after the other, in this process."""

    def __init__(self, project: Consumer, work: Path) -> None:
        self.config = project.folder / "mlops.yaml"
        self.handover = work / "candidate"

    def validate(self) -> int:
        """Run validate."""
        return validate.run(
            argparse.Namespace(config=self.config, output=self.handover, baseline=None, sets=None)
        )

    def train(self) -> int:
        """Run train."""
        return train.run(
            argparse.Namespace(
                config=self.config, handover=self.handover, baseline=None, force="false"
            )
        )

    def score(self) -> int:
        """Run score."""
        return score.run(
            argparse.Namespace(config=self.config, handover=self.handover, baseline=None)
        )

    def evidence(self, stage: str) -> dict:
        """The predicate that a stage left."""
        return evidence.read(self.handover / f"{stage}.json", stage)


@pytest.fixture
def stages(tiny: Consumer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    made = Stages(tiny, tmp_path / "work")
    assert made.validate() == 0
    return made


def job(stages: Stages, script: str) -> None:
    (stages.config.parent / "job.py").write_text(LOG + script)


def test_a_run_is_found_exported_and_scored(stages: Stages) -> None:
    job(stages, "with mlflow.start_run():\n mlflow.log_param('c', 1)\n log()\n")
    assert stages.train() == 0
    run = exported_run.read(stages.handover / "run" / "run.json")
    assert (run.status, run.params) == ("FINISHED", {"c": "1"})
    exported_run.check_files(stages.handover)
    assert stages.score() == 0
    import polars as pl

    scored = pl.read_parquet(stages.handover / "predictions" / "development" / "candidate.parquet")
    assert scored.columns == ["id", "prediction", "probability_0", "probability_1"]
    assert scored["id"].to_list() == list(range(200))
    names = {
        item["name"] for item in json.loads((stages.handover / "train.json").read_text())["subject"]
    }
    assert names == {"run", "model"}


@pytest.mark.parametrize(
    ("script", "message", "runs"),
    [
        pytest.param("", "logged no MLflow run", False, id="nothing logged"),
        pytest.param(
            "with mlflow.start_run():\n mlflow.log_param('c', 1)\n",
            "logged no model",
            True,
            id="no model",
        ),
        pytest.param(
            "with mlflow.start_run():\n log('one')\n log('two')\n",
            "logged 2 models",
            True,
            id="two models",
        ),
    ],
)
def test_a_command_that_logs_no_one_model(
    stages: Stages, script: str, message: str, runs: bool
) -> None:
    job(stages, script)
    with pytest.raises(Failure, match=message):
        stages.train()
    assert stages.evidence("train")["verdict"] == "failed"
    run = stages.handover / "run" / "run.json"
    assert run.is_file() is runs
    assert not runs or exported_run.read(run).status == "FAILED"
    with pytest.raises(Failure):
        stages.score()


@pytest.mark.parametrize(
    ("end", "limit", "message"),
    [
        ("raise SystemExit(3)", "300s", "failed with exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "300s", "killed by SIGKILL"),
        ("import time; time.sleep(600)", "30s", "stopped after its time limit of 30 s"),
    ],
)
def test_a_command_that_ends_badly_leaves_a_failed_run(
    stages: Stages, end: str, limit: str, message: str
) -> None:
    config = stages.config.read_text().replace("300s", limit)
    stages.config.write_text(config)
    job(stages, f"mlflow.start_run()\nmlflow.log_param('c', 1)\n{end}\n")
    with pytest.raises(Failure, match=message):
        stages.train()
    found = stages.evidence("train")
    assert found["verdict"] == "failed"
    assert message in found["checks"][0]["message"]
    run = exported_run.read(stages.handover / "run" / "run.json")
    assert run.status == "FAILED"
    assert run.params == {"c": "1"}


def test_a_search_logs_its_best_model_in_the_parent(stages: Stages) -> None:
    job(
        stages,
        "with mlflow.start_run() as parent:\n"
        " for c in (1, 2):\n"
        "  with mlflow.start_run(nested=True):\n   mlflow.log_param('c', c)\n   log()\n"
        " mlflow.log_param('best', 2)\n log()\n",
    )
    assert stages.train() == 0
    assert stages.evidence("train")["params"] == {"best": "2"}


def test_training_may_not_change_the_data_it_is_judged_on(stages: Stages) -> None:
    job(
        stages,
        "with mlflow.start_run():\n log()\ndata.head(50).to_csv('evaluation.csv', index=False)\n",
    )
    assert stages.train() == 1
    found = stages.evidence("train")
    assert found["verdict"] == "failed"
    failed = [item for item in found["checks"] if item["status"] == "fail"]
    assert failed[0]["name"] == "data_untouched"


def test_a_score_function_of_the_users_own(stages: Stages) -> None:
    job(stages, "with mlflow.start_run():\n log()\n")
    (stages.config.parent / "own.py").write_text(
        "def score(model, frame):\n"
        "    p = model.predict_proba(frame[['x']])\n"
        "    return {'prediction': (p[:, 1] > 0.5).astype(int), 'probability_0': p[:, 0],\n"
        "            'probability_1': p[:, 1], 'loss_cost': abs(frame['y'] - p[:, 1])}\n"
    )
    stages.config.write_text(stages.config.read_text() + "score: own:score\n")
    assert stages.train() == 0
    assert stages.score() == 0
    import polars as pl

    scored = pl.read_parquet(stages.handover / "predictions" / "development" / "candidate.parquet")
    assert "loss_cost" in scored.columns


def test_a_score_function_that_raises_is_named(stages: Stages) -> None:
    job(stages, "with mlflow.start_run():\n log()\n")
    (stages.config.parent / "own.py").write_text(
        "def score(model, frame):\n    return frame['z']\n"
    )
    stages.config.write_text(stages.config.read_text() + "score: own:score\n")
    assert stages.train() == 0
    with pytest.raises(Failure, match="KeyError"):
        stages.score()


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("import sys; sys.exit(0)", r"ended the process: sys.exit\(0\)"),
        ("import os; os._exit(0)", "Scoring ended without candidate.parquet"),
    ],
)
def test_a_score_function_that_ends_the_process_is_no_success(
    stages: Stages, end: str, message: str
) -> None:
    job(stages, "with mlflow.start_run():\n log()\n")
    (stages.config.parent / "own.py").write_text(f"def score(model, frame):\n    {end}\n")
    stages.config.write_text(stages.config.read_text() + "score: own:score\n")
    assert stages.train() == 0
    with pytest.raises(Failure, match=message):
        stages.score()
    assert not (stages.handover / "score.json").exists()


def test_ids_that_are_text_stay_text(
    tiny: Consumer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    rows = "".join(f"{n:05},{n % 7},{int(n % 7 > 3)}\n" for n in range(200))
    for name in ("training", "evaluation"):
        (tiny.folder / f"{name}.csv").write_text(f"id,x,y\n{rows}")
    schema = "schema_type: polars_dataframe\ncolumns:\n  id: {dtype: String}\n"
    (tiny.folder / "schema.yaml").write_text(schema)
    tiny.replace("mlops.yaml", r"^data: \{", "data: {schema: schema.yaml, ")
    stages = Stages(tiny, tmp_path / "work")
    job(stages, "with mlflow.start_run():\n log()\n")
    assert (stages.validate(), stages.train(), stages.score()) == (0, 0, 0)
    scored = stages.handover / "predictions" / "development" / "candidate.parquet"
    words = [
        *("gate", "--config", str(stages.config), "--output", str(tmp_path / "gate.json")),
        *("--candidate", str(scored)),
        *("--evaluation", str(stages.handover / "evaluation" / "development.parquet")),
    ]
    assert cli.main(words) == 0


@contextlib.contextmanager
def remote(project: Consumer, address: str) -> Iterator[None]:
    (project.folder / ".dvc" / "config").write_text(
        f"[core]\n    remote = store\n['remote \"store\"']\n    url = {address}\n"
    )
    (project.folder / "raw.csv.dvc").write_text(
        "outs:\n- md5: 0cc175b9c0f1b6a831c399e269772661\n  size: 1\n  hash: md5\n  path: raw.csv\n"
    )
    yield


def test_a_dvc_remote_without_credentials_is_named(tiny: Consumer, tmp_path: Path) -> None:
    stages = Stages(tiny, tmp_path / "work")
    tiny.replace("mlops.yaml", r"^data: \{", "data: {command: python -V, ")
    said = "The DVC remote 'store' gave no data"
    with (
        misbehaving(401) as address,
        remote(tiny, address),
        pytest.raises(Failure, match=said) as problem,
    ):
        stages.validate()
    assert "secret ENV" in str(problem.value)
    found = stages.evidence("validate")
    assert found["verdict"] == "failed"
    assert found["checks"][0]["status"] == "inconclusive"  # No data is no bad data.
