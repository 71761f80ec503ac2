"""Training: what is decided around the user's command. The command itself: end_to_end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_actions import evidence, github, project, scope, smoke, train
from mlops_actions.config import Project, parse
from mlops_actions.errors import Failure
from mlops_actions.project import CommandFailed, Environment

CONFIG = """\
name: tiny
task: regression
target: y
id: id
data: {training: training.csv, evaluation: evaluation.csv}
gate: {metrics: {r2: {threshold: 0.1}}}
pull-request: smoke
smoke: {command: python smoke.py, metric: r2, floor: 0.1}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Project:
    for name in ("training.csv", "evaluation.csv"):
        (tmp_path / name).write_text(f"id,y\n1,{name}\n")
    return parse(CONFIG, tmp_path / "mlops.yaml")


def manifest(loaded: Project) -> dict[str, Any]:
    def part(name: str) -> dict[str, Any]:
        digest = evidence.sha256_file(loaded.folder / name)
        return {"files": [{"path": name, "sha256": digest}], "digest": digest}

    return {"training": part("training.csv"), "evaluation": {"release": part("evaluation.csv")}}


def test_data_that_training_left_alone(loaded: Project) -> None:
    assert train.data_untouched(loaded, manifest(loaded))["status"] == "pass"


@pytest.mark.parametrize("name", ["training.csv", "evaluation.csv"])
def test_data_that_training_changed(loaded: Project, name: str) -> None:
    fixed = manifest(loaded)
    (loaded.folder / name).write_text("id,y\n1,easier\n")
    found = train.data_untouched(loaded, fixed)
    assert found["status"] == "fail"
    assert found["observed"] == [name]


def test_data_that_training_removed(loaded: Project) -> None:
    fixed = manifest(loaded)
    (loaded.folder / "evaluation.csv").unlink()
    assert train.data_untouched(loaded, fixed)["status"] == "fail"


@pytest.mark.parametrize(
    ("payload", "mode"),
    [
        ({}, "full"),
        ({"pull_request": {"labels": []}}, "smoke"),
        ({"pull_request": {"labels": [{"name": "docs"}]}}, "smoke"),
        ({"pull_request": {"labels": [{"name": "full-training"}]}}, "full"),
    ],
)
def test_the_mode(
    loaded: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    payload: dict[str, Any],
    mode: str,
) -> None:
    path = tmp_path / "event.json"
    path.write_text(json.dumps(payload))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(path))
    github.event.cache_clear()
    try:
        assert scope.training_mode(loaded) == mode
    finally:
        github.event.cache_clear()


@pytest.mark.parametrize(
    ("aliases", "tagged", "found"),
    [
        ({"champion": "1", "challenger": "2"}, "1", "1"),
        ({"champion": "1", "challenger": "2"}, "2", "2"),
        ({"champion": "1"}, "3", None),  # An older version is no reason not to train.
        ({}, "1", None),
    ],
)
def test_the_same_pipeline(
    tmp_path: Path, aliases: dict[str, str], tagged: str, found: str | None
) -> None:
    versions = {tagged: {"mlops.pipeline_digest": "digest"}}
    document = {"aliases": aliases, "versions": versions}
    evidence.write_json(tmp_path / "baseline.json", document)
    assert train._same_pipeline(tmp_path, "digest") == found
    assert train._same_pipeline(tmp_path, "another") is None
    assert train._same_pipeline(None, "digest") is None


# The command, with doubles of what runs in the project environment.

FULL = CONFIG.replace("pull-request: smoke\n", "train: {command: dvc repro, stage: fit}\n")
FORCED = "dvc repro --force --single-item fit"


class Environments:
    """What is asked of the project environment, and what it answers."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.answers: list[str] = []  # Of the exports, one after the other; "" has a model.
        self.failed_exports = 0
        self.waiting = 0  # Processes that could export.
        self.ends: dict[str, str] = {}  # Commands that fail.

    def run_command(self, _: Environment, command: str | list[str], **more: Any) -> float:
        store = more.get("variables", {}).get("MLFLOW_TRACKING_URI")
        if store:
            Path(store.removeprefix("sqlite:///")).touch()
        words = command if isinstance(command, str) else " ".join(command)
        self.commands.append(words)
        if words in self.ends:
            raise CommandFailed(self.ends[words])
        return 1.0

    def runner(self, _: Environment, command: str, **_more: Any) -> Environments:
        assert command == "export"
        self.waiting += 1
        return self

    def end(self) -> None:
        self.waiting -= 1

    def ask(self, **request: Any) -> None:
        self.waiting -= 1
        output = Path(request["output"])
        self.failed_exports += request["failed"]
        answer = "" if request["failed"] else self.answers.pop(0)
        if answer:
            raise Failure(answer)
        document = {
            "run_id": "r", "params": {}, "status": "FAILED" if request["failed"] else "FINISHED",
        }  # fmt: skip
        evidence.write_json(output / "run.json", document)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Environments]:
    made = Environments()
    monkeypatch.setattr(project, "run_command", made.run_command)
    monkeypatch.setattr(project, "Runner", made.runner)
    yield made
    assert made.waiting == 0  # No process is left behind.


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(folder=tmp_path / "venv", digest="0", python_version="3.11")


@pytest.fixture
def handover(loaded: Project, tmp_path: Path) -> Path:
    folder = tmp_path / "handover"
    evidence.write_json(folder / "data.json", manifest(loaded))
    evidence.write_json(folder / "validate.json", {})
    return folder


def full(handover: Path, environment: Environment, text: str = FULL) -> dict[str, Any]:
    loaded = parse(text, handover.parent / "mlops.yaml")
    return train._train(loaded, environment, handover, manifest(loaded))


def test_a_model_is_asked_for_once(
    asked: Environments, environment: Environment, handover: Path
) -> None:
    asked.answers = [""]
    assert full(handover, environment)["run_id"] == "r"
    assert asked.commands == ["dvc repro"]


@pytest.mark.parametrize("missing", ["no-run", "no-model"])
def test_a_stage_that_dvc_skips_is_forced(
    asked: Environments, environment: Environment, handover: Path, missing: str
) -> None:
    asked.answers = [missing, ""]  # A later stage may have logged a run of its own.
    assert full(handover, environment)["seconds"] == 3.0
    assert asked.commands == ["dvc repro", FORCED, "dvc repro"]


@pytest.mark.parametrize(
    ("missing", "said"), [("no-run", "logged no MLflow run"), ("no-model", "logged no model")]
)
def test_what_is_still_missing_is_said(
    asked: Environments, environment: Environment, handover: Path, missing: str, said: str
) -> None:
    asked.answers = [missing, missing]
    with pytest.raises(Failure, match=said):
        full(handover, environment)
    asked.answers = [missing]
    with pytest.raises(Failure, match=r"Set train\.stage"):
        full(handover, environment, FULL.replace(", stage: fit", ""))


def test_two_models_leave_a_failed_run(
    asked: Environments, environment: Environment, handover: Path
) -> None:
    asked.answers = ["The command logged 2 models."]
    with pytest.raises(Failure, match="2 models"):
        full(handover, environment)
    assert evidence.read_json(handover / "run" / "run.json")["status"] == "FAILED"


def test_a_smoke_run_that_fails_leaves_a_failed_run(
    asked: Environments, environment: Environment, handover: Path, loaded: Project
) -> None:
    asked.ends = {"python smoke.py": "Smoke: it was killed."}
    with pytest.raises(Failure, match="killed"):
        smoke.train(loaded, environment, handover, {"pipeline_digest": "0"})
    assert evidence.read_json(handover / "run" / "run.json")["status"] == "FAILED"
    assert evidence.read(handover / "train.json", "train")["verdict"] == "failed"


@pytest.mark.parametrize("known", [False, True], ids=["no base", "a base out of reach"])
def test_a_base_branch_out_of_reach_is_inconclusive(
    asked: Environments,
    environment: Environment,
    handover: Path,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
) -> None:
    event = {"pull_request": {"base": {"sha": "1" * 40}} if known else {}}
    (repository / "event.json").write_text(json.dumps(event))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(repository / "event.json"))
    github.event.cache_clear()
    asked.answers = [""]
    loaded = parse(CONFIG.replace("floor: 0.1", "floor: 0.1, max_loss: 0.1"), repository / "a.yaml")
    assert smoke.train(loaded, environment, handover, {"pipeline_digest": "0"}) == 0
    checks = evidence.read(handover / "train.json", "train")["checks"]
    assert {item["name"]: item["status"] for item in checks} == {
        "training": "pass",
        "base_branch": "inconclusive",
    }


def test_a_broken_store_does_not_hide_the_first_error(
    asked: Environments,
    environment: Environment,
    handover: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(**_: object) -> None:
        asked.end()
        raise Failure("The store is broken.")

    monkeypatch.setattr(asked, "ask", broken)
    asked.ends = {"dvc repro": "Training: it was killed."}
    with pytest.raises(Failure, match="killed"):
        full(handover, environment)


# DVC, after training.


@pytest.fixture
def repository(loaded: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with a committed dvc.lock, on the default branch."""
    folder = loaded.folder
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    for words in (["init", "--quiet"], ["add", "dvc.lock"], ["commit", "--quiet", "-m", "x"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", "-C", folder, *identity, *words], check=True)
    monkeypatch.setenv("GITHUB_EVENT_NAME", "schedule")
    github.event.cache_clear()
    yield folder
    github.event.cache_clear()


def after(folder: Path, environment: Environment, settings: str) -> dict[str, evidence.Check]:
    loaded = parse(FULL.replace("stage: fit", settings), folder / "mlops.yaml")
    return {item["name"]: item for item in train._after(loaded, environment, manifest(loaded))}


@pytest.mark.parametrize(
    ("setting", "status"), [("report", "skipped"), ("fail", "fail"), ("ignore", None)]
)
def test_a_changed_lock(
    repository: Path, environment: Environment, setting: str, status: str | None
) -> None:
    assert "dvc_lock" not in after(repository, environment, f"dvc_lock: {setting}")
    (repository / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    found = after(repository, environment, f"dvc_lock: {setting}").get("dvc_lock")
    assert (found and found["status"]) == status
    assert found is None or "commit dvc.lock" in found["message"]


LOCK = """\
schema: '2.0'
stages:
  fit:
    cmd: python fit.py
    deps: [{path: fit.py, md5: CODE, size: 1}]
    params: {params.yaml: {fit.depth: DEPTH}}
    outs: [{path: out/model, md5: MODEL, size: 1}]
  judge:
    cmd: python judge.py
    deps: [{path: out/model, md5: MODEL, size: 1}]
"""


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (["MODEL"], "in out/model, made here from the very inputs"),
        (["CODE", "MODEL"], "in fit.py, out/model: it was not committed"),
        (["DEPTH"], "in the parameters of fit in params.yaml: it was not committed"),
        (["python fit.py"], "in the command of fit: it was not committed"),
        (["schema"], "dvc.lock differs from the commit: it was not committed"),
        (["stages"], "dvc.lock differs from the commit: it was not committed"),
    ],
)
def test_what_changed_in_the_lock_is_said(
    repository: Path, environment: Environment, changed: list[str], expected: str
) -> None:
    lock = repository / "dvc.lock"
    lock.write_text(LOCK)
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    words = ["commit", "--quiet", "--all", "--message", "Lock"]
    subprocess.run(["git", "-C", repository, *identity, *words], check=True)
    for word in changed:
        lock.write_text(lock.read_text().replace(word, f"{word}2"))
    found = after(repository, environment, "dvc_lock: report")["dvc_lock"]["message"]
    assert expected in found
    assert "commit dvc.lock" in found


def test_a_push_is_asked_for(
    asked: Environments, repository: Path, environment: Environment
) -> None:
    assert "dvc_push" not in after(repository, environment, "dvc_push: false")
    assert after(repository, environment, "dvc_push: true")["dvc_push"]["status"] == "pass"
    assert asked.commands == ["dvc push"]


@pytest.mark.usefixtures("repository")
def test_a_push_is_for_the_default_branch(
    asked: Environments, environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_EVENT_NAME", "push")
    github.event.cache_clear()
    assert "dvc_push" not in after(tmp_path, environment, "dvc_push: true")
    assert asked.commands == []


def test_a_push_that_fails_is_a_failing_check(
    asked: Environments, repository: Path, environment: Environment
) -> None:
    asked.ends = {"dvc push": "Push: dvc push failed with exit code 1."}
    found = after(repository, environment, "dvc_push: true")["dvc_push"]
    assert found["status"] == "fail"
    assert "exit code 1. Check the remote's credentials" in found["message"]


def test_what_failed_is_not_pushed(
    asked: Environments, repository: Path, environment: Environment
) -> None:
    (repository / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    found = after(repository, environment, "dvc_push: true, dvc_lock: fail")
    assert found["dvc_push"]["status"] == "skipped"
    assert asked.commands == []
