"""The gate of a workflow: a handover that is not whole is never a pass."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mlops_actions import evidence, github
from mlops_actions.errors import ConfigurationError
from mlops_actions.gate import verdict

CONFIG = """\
name: tiny
task: classification
target: y
labels: [0, 1]
id: id
data: {training: training.csv, evaluation: evaluation.csv}
gate: {bootstrap: allow, metrics: {roc_auc: {threshold: 0.6}}}
"""


class Workflow:
    """A repository without a registry yet, and what its job `model` handed over."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "work"
        self.candidate = folder / "mlops" / "candidate"
        self.output = folder / "mlops" / "verdict" / "gate.json"
        self.digest = ""
        self.result = "success"

    def run(self) -> int:
        """Run the gate."""
        return verdict.run(
            argparse.Namespace(
                config=self.repository / "mlops.yaml",
                handover=self.candidate,
                validate_digest=self.digest,
                model_result=self.result,
                output=self.output,
            )
        )

    def predicate(self) -> dict[str, Any]:
        """What the gate said."""
        return evidence.read(self.output, "gate")

    def write(self, stage: str, document: dict[str, Any]) -> None:
        """Write the evidence of a stage, and remember validate's digest."""
        digest = evidence.write_json(self.candidate / f"{stage}.json", document)
        if stage == "validate":
            self.digest = digest


def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    """Hand over a first model that is good, on the set development."""
    for name in list(__import__("os").environ):
        if name.startswith(("GITHUB_", "MLFLOW_TRACKING")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    github.event.cache_clear()
    made = Workflow(tmp_path)
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "origin.git"], check=True)
    subprocess.run(["git", "init", "--quiet", made.repository], check=True)
    remote = ["remote", "add", "origin", str(tmp_path / "origin.git")]
    subprocess.run(["git", "-C", made.repository, *remote], check=True)
    (made.repository / "mlops.yaml").write_text(CONFIG)
    numbers = np.random.default_rng(0)
    target = numbers.integers(0, 2, 1000)
    chance = np.clip(0.3 * target + numbers.uniform(0, 0.7, 1000), 0, 1)
    keys = made.candidate / "evaluation" / "development.parquet"
    keys.parent.mkdir(parents=True)
    pl.DataFrame({"id": range(1000), "y": target}).write_parquet(keys)
    scored = made.candidate / "predictions" / "development" / "candidate.parquet"
    scored.parent.mkdir(parents=True)
    columns = {"prediction": chance > 0.5, "probability_0": 1 - chance, "probability_1": chance}
    frame = pl.DataFrame({"id": range(1000), **columns})
    frame.with_columns(pl.col("prediction").cast(pl.Int64)).write_parquet(scored)
    digest = evidence.sha256_file(keys)
    part = {
        "path": "evaluation.csv", "rows": 1000, "digest": "d" * 64, "files": [],
        "keys": {"file": "evaluation/development.parquet", "sha256": digest},
        "overlap": {"keys": 0, "content": 0},
    }  # fmt: skip
    data = {"training": {"cutoff": None, "digest": "e" * 64, "rows": 9000, "files": []}}
    data["evaluation"] = {"development": part}  # type: ignore[assignment]
    fixed = evidence.write_json(made.candidate / "data.json", data)
    subjects = [
        evidence.subject("data.json", fixed),
        evidence.subject("evaluation/development.parquet", digest),
    ]
    made.write("validate", evidence.statement("validate", "passed", [], subjects=subjects))
    made.write("train", evidence.statement("train", "passed", [], subjects=[], mode="full"))
    made.write("score", evidence.statement("score", "passed", [], subjects=[]))
    return made


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    return make(tmp_path, monkeypatch)


def test_a_whole_handover_is_judged(workflow: Workflow, tmp_path: Path) -> None:
    assert workflow.run() == 0
    found = workflow.predicate()
    assert found["verdict"] == "blessed"
    assert found["bootstrap"] is True
    names = {item["name"]: item["digest"]["sha256"] for item in found["previous"]}
    assert names["validate.json"] == workflow.digest
    assert set(names) == {"validate.json", "train.json", "score.json"}
    outputs = (tmp_path / "outputs").read_text()
    assert "verdict<<" in outputs
    assert "\nblessed\n" in outputs
    assert "publish<<" in outputs
    assert "\nfalse\n" in outputs  # There is no default branch here.
    assert "blessed" in workflow.output.with_name("report.md").read_text().splitlines()[0]
    assert workflow.output.with_name("report.html").is_file()


def _nothing(workflow: Workflow) -> None:
    shutil.rmtree(workflow.candidate)


def _digest(workflow: Workflow) -> None:
    workflow.digest = "0" * 64


def _no_digest(workflow: Workflow) -> None:
    workflow.digest = ""


def _forged_validation(workflow: Workflow) -> None:
    path = workflow.candidate / "validate.json"
    path.write_text(path.read_text().replace("passed", "passed "))


def _easier_rows(workflow: Workflow) -> None:
    path = workflow.candidate / "evaluation" / "development.parquet"
    pl.read_parquet(path).head(500).write_parquet(path)


def _other_manifest(workflow: Workflow) -> None:
    path = workflow.candidate / "data.json"
    path.write_text(path.read_text().replace("d" * 64, "f" * 64))


def _unnamed_manifest(workflow: Workflow) -> None:
    workflow.write("validate", evidence.statement("validate", "passed", [], subjects=[]))


def _outside(workflow: Workflow) -> None:
    digest = evidence.sha256_file(workflow.repository / "mlops.yaml")
    (workflow.candidate.parent / "other.json").write_bytes(
        (workflow.repository / "mlops.yaml").read_bytes()
    )
    subjects = [evidence.subject("../other.json", digest)]
    workflow.write("validate", evidence.statement("validate", "passed", [], subjects=subjects))


def _link(workflow: Workflow) -> None:
    path = workflow.candidate / "predictions" / "development" / "candidate.parquet"
    target = workflow.candidate.parent / "elsewhere.parquet"
    path.rename(target)
    path.symlink_to(target)


def _no_training(workflow: Workflow) -> None:
    (workflow.candidate / "train.json").unlink()


def _garbled_training(workflow: Workflow) -> None:
    (workflow.candidate / "train.json").write_text("{")


def _failed_training(workflow: Workflow) -> None:
    said = [evidence.check("training", "fail", message="dvc repro failed with exit code 1.")]
    workflow.write("train", evidence.statement("train", "failed", said, subjects=[], mode="full"))


def _smoke_training(workflow: Workflow) -> None:
    document = evidence.statement("train", "passed", [], subjects=[], mode="smoke")
    workflow.write("train", document)


def _claimed_unchanged(workflow: Workflow) -> None:
    document = evidence.statement("train", "unchanged", [], subjects=[], mode="full")
    workflow.write("train", document)
    (workflow.repository / "a").touch()


def _scoring_that_died(workflow: Workflow) -> None:
    (workflow.candidate / "score.json").unlink()


def _no_predictions(workflow: Workflow) -> None:
    shutil.rmtree(workflow.candidate / "predictions")


def _cancelled(workflow: Workflow) -> None:
    workflow.result = "cancelled"


def _no_origin(workflow: Workflow) -> None:
    subprocess.run(["git", "-C", workflow.repository, "remote", "remove", "origin"], check=True)


@pytest.mark.parametrize(
    "spoil",
    [
        _nothing, _digest, _no_digest, _forged_validation, _easier_rows, _other_manifest,
        _unnamed_manifest, _outside, _link, _no_training, _garbled_training, _failed_training,
        _smoke_training, _claimed_unchanged, _scoring_that_died, _no_predictions,
        _cancelled, _no_origin,
    ],
)  # fmt: skip
def test_a_handover_that_is_not_whole_is_inconclusive(
    workflow: Workflow, spoil: Callable[[Workflow], None]
) -> None:
    spoil(workflow)
    assert workflow.run() == 1
    found = workflow.predicate()
    assert found["verdict"] == "inconclusive", found["checks"]
    assert found["reasons"], "an inconclusive verdict says why"
    assert workflow.output.with_name("report.md").is_file()


def test_bad_data_is_rejected(workflow: Workflow) -> None:
    said = [evidence.check("schema:x:dtype", "fail", "text", "number", "x is text.")]
    workflow.write("validate", evidence.statement("validate", "failed", said, subjects=[]))
    workflow.result = "failure"
    assert workflow.run() == 1
    assert workflow.predicate()["verdict"] == "rejected"
    assert "schema:x:dtype" in workflow.predicate()["reasons"][0]


def test_no_data_is_inconclusive(workflow: Workflow) -> None:
    said = [evidence.check("data", "inconclusive", message="The remote gave no data.")]
    workflow.write("validate", evidence.statement("validate", "failed", said, subjects=[]))
    workflow.result = "failure"
    assert workflow.run() == 1
    assert workflow.predicate()["verdict"] == "inconclusive"
    assert "The remote gave no data" in workflow.predicate()["reasons"][0]


def test_a_fork_is_told_what_a_maintainer_does(
    workflow: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = {"number": 1, "pull_request": {"head": {"repo": {"full_name": "else/where"}}}}
    (tmp_path / "event.json").write_text(json.dumps(payload))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
    monkeypatch.setenv("GITHUB_REPOSITORY", "acme/flights")
    github.event.cache_clear()
    try:
        assert workflow.run() == 1
    finally:
        github.event.cache_clear()
    found = workflow.predicate()
    assert found["verdict"] == "inconclusive"  # Never a bootstrap: the champion may be unseen.
    assert "the pull request comes from a fork" in found["reasons"][0]
    # One place tells what to do: where it is told twice, it is soon told differently.
    assert "gh pr create" in workflow.output.with_name("report.md").read_text()
    assert not any("push" in reason or "workflow" in reason for reason in found["reasons"])


# --- No verdict ----------------------------------------------------------------------------------


def _broken_file(workflow: Workflow) -> None:
    (workflow.repository / "mlops.yaml").write_text(CONFIG + "gait: {}\n")


def _unknown_metric(workflow: Workflow) -> None:
    path = workflow.repository / "mlops.yaml"
    path.write_text(path.read_text().replace("roc_auc", "roc_auk"))


@pytest.mark.parametrize(("spoil", "said"), [(_broken_file, "gait"), (_unknown_metric, "roc_auk")])
def test_a_broken_configuration_leaves_a_report_that_says_so(
    workflow: Workflow, tmp_path: Path, spoil: Callable[[Workflow], None], said: str
) -> None:
    assert workflow.run() == 0
    spoil(workflow)
    with pytest.raises(ConfigurationError, match=said):
        workflow.run()
    assert workflow.predicate()["verdict"] == "inconclusive"
    text = workflow.output.with_name("report.md").read_text()
    assert said in text
    assert "blessed" not in text
    outputs = (tmp_path / "outputs").read_text().splitlines()
    assert [one for one in outputs if one in {"blessed", "inconclusive"}][-1] == "inconclusive"


def test_a_bug_of_ours_leaves_a_report_and_a_traceback(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(verdict, "decide", broken)
    with pytest.raises(ZeroDivisionError):
        workflow.run()
    assert "ZeroDivisionError: a bug of ours" in workflow.output.with_name("report.md").read_text()
