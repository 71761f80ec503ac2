"""The generated flights repository, from pull requests to registered versions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from conftest import Consumer
from mlflow import MlflowClient
from tracking_server import answers, free_port, wait

from mlops_actions.local import LocalRun
from mlops_actions.registry.store import EmbeddedRegistry, quiet
from mlops_actions.state import Branch

pytestmark = pytest.mark.slow
GATE = "quality-gate"


def verdict(run: LocalRun, job: str = GATE) -> str:
    return run.outputs[job]["verdict"]


def gate(run: LocalRun) -> dict:
    """The predicate of the gate's evidence, out of the report artifact."""
    path = run.artifact("mlops-late-flights-report") / "gate.json"
    return json.loads(path.read_text())["predicate"]


def registry_of(run: LocalRun, folder: Path) -> EmbeddedRegistry:
    quiet()
    folder.mkdir()
    work = folder / "work"
    run.git("clone", "--quiet", str(run.origin), str(work))
    return EmbeddedRegistry(Branch(repository=work).checkout(folder / "branch"))


def test_a_push_registers_with_evidence_and_the_next_one_finds_nothing_new(
    registered: Consumer, tmp_path: Path
) -> None:
    registered.replace("README.md", r"\A", "Prose.\n")
    registered.commit("Prose makes no other model")
    run = registered.happens("push")
    assert run.green
    assert verdict(run, "train") == "unchanged"
    assert run.outputs["train"].get("version", "") == ""
    registry = registry_of(run, tmp_path / "look")
    assert registry.aliases("late-flights") == {"challenger": "1"}
    version = registry.version("late-flights", "1")
    registry.download_evidence(version, tmp_path / "evidence")
    chain = {}
    for stage in ("validate", "train", "score", "gate", "publish"):
        document = json.loads((tmp_path / "evidence" / f"{stage}.json").read_text())
        assert document["_type"] == "https://in-toto.io/Statement/v1"
        chain[stage] = document["predicate"]
    assert chain["gate"]["bootstrap"] is True  # Recorded as such, never silent.
    assert chain["train"]["data_version"]["data/training.parquet"]
    names = {item["name"] for item in chain["gate"]["previous"]}
    assert names == {"validate.json", "train.json", "score.json"}


def test_a_change_that_trains_the_same_model_is_unchanged_and_another_is_version_2(
    registered: Consumer, tmp_path: Path
) -> None:
    registered.replace("model/train.py", r"\A", "# A comment changes the pipeline's digest.\n")
    registered.commit("A comment")
    run = registered.happens("push")
    assert run.green
    assert verdict(run, "train") == "unchanged"  # The predictions are identical.
    registered.replace("params.yaml", r"^(\s+max_iter:).*", r"\1 60")
    registered.commit("More iterations")
    run = registered.happens("push")
    assert verdict(run, "train") == "blessed", run.summaries
    assert run.outputs["train"]["version"] == "2"
    assert run.outputs["train"]["baseline-version"] == "1"
    registry = registry_of(run, tmp_path / "look")
    assert registry.aliases("late-flights") == {"challenger": "2"}
    assert gate(run)["bootstrap"] is False


def test_a_pull_request_that_is_blessed_has_one_report(registered: Consumer) -> None:
    registered.branch("more-iterations")
    registered.replace("params.yaml", r"^(\s+max_iter:).*", r"\1 60")
    registered.commit("More iterations")
    before = registered.git("--git-dir", ".mlops-local/origin.git", "rev-parse", "mlops-state")
    run = registered.happens("pull_request", workflow="quality-gate.yml")
    assert run.green
    assert verdict(run) == "blessed"
    assert len(run.comments) == 1
    first = run.comments[0]["body"]
    registered.replace("params.yaml", r"^(\s+max_iter:).*", r"\1 5")
    registered.commit("Far fewer iterations")
    run = registered.happens("pull_request", workflow="quality-gate.yml")
    assert not run.green
    assert verdict(run) == "rejected"
    assert len(run.comments) == 1  # Updated in place, never a second one.
    assert run.comments[0]["body"] != first
    assert "rejected" in run.comments[0]["body"].splitlines()[1]
    after = run.git("rev-parse", "mlops-state")
    assert after == before  # A pull request writes nothing.
    html = run.artifact("mlops-late-flights-report") / "report.html"
    assert "rejected" in html.read_text()


def test_a_pull_request_whose_data_breaks_the_schema(registered: Consumer) -> None:
    registered.branch("broken-data")
    text = (registered.folder / "model" / "prepare.py").read_text()
    broken = text.replace("write_parquet(", "with_columns(distance=-1.0).write_parquet(", 1)
    assert broken != text
    (registered.folder / "model" / "prepare.py").write_text(broken)
    registered.commit("Break the distance")
    run = registered.happens("pull_request", workflow="quality-gate.yml")
    assert not run.green
    assert verdict(run) == "rejected"
    assert "rejected (data validation)" in run.comments[0]["body"]
    assert "distance" in run.comments[0]["body"]
    assert "Training:" not in run.log
    assert any("distance" in item.message for item in run.annotations if item.level == "error")


def test_mlflows_own_page_shows_the_registry(registered: Consumer, tmp_path: Path) -> None:
    origin = registered.folder / ".mlops-local" / "origin.git"
    registered.git("remote", "add", "origin", str(origin))
    address = f"http://127.0.0.1:{(port := free_port())}"
    words = ["registry", "ui", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlops_actions", "--directory", registered.folder, *words],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            wait(lambda: answers(f"{address}/health"), process, f"The page ({log.name})")
            client = MlflowClient(tracking_uri=address)
            found = client.get_model_version_by_alias("late-flights", "challenger")
            assert found.version == "1"
            assert "mlflow" in urllib.request.urlopen(address).read().decode().lower()
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
    assert address in (tmp_path / "log").read_text()


def test_two_pushes_at_once_both_survive(registered: Consumer, tmp_path: Path) -> None:
    runs: dict[str, LocalRun] = {}

    def push(name: str, iterations: int) -> None:
        other = Consumer(tmp_path / name)
        other.replace("params.yaml", r"^(\s+max_iter:).*", rf"\1 {iterations}")
        other.commit(f"{iterations} iterations")
        runs[name] = other.happens("push", output=registered.folder / ".mlops-local")

    for name in ("one", "two"):
        registered.copy(tmp_path / name)
    threads = [
        threading.Thread(target=push, args=("one", 60)),
        threading.Thread(target=push, args=("two", 70)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = sorted(run.outputs["train"]["version"] for run in runs.values())
    assert versions == ["2", "3"]
    registry = registry_of(runs["one"], tmp_path / "look")
    assert registry.version("late-flights", "2").tags["mlops.verdict"] == "blessed"
    assert registry.version("late-flights", "3").tags["mlops.verdict"] == "blessed"
