"""Training: what is decided around the user's command. The command itself: end_to_end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlops_actions import evidence, github, train
from mlops_actions.config import Project, parse

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
def project(tmp_path: Path) -> Project:
    for name in ("training.csv", "evaluation.csv"):
        (tmp_path / name).write_text(f"id,y\n1,{name}\n")
    return parse(CONFIG, tmp_path / "mlops.yaml")


def manifest(project: Project) -> dict[str, Any]:
    def part(name: str) -> dict[str, Any]:
        digest = evidence.sha256_file(project.folder / name)
        return {"files": [{"path": name, "sha256": digest}]}

    return {"training": part("training.csv"), "evaluation": {"release": part("evaluation.csv")}}


def test_data_that_training_left_alone(project: Project) -> None:
    assert train.data_untouched(project, manifest(project))["status"] == "pass"


@pytest.mark.parametrize("name", ["training.csv", "evaluation.csv"])
def test_data_that_training_changed(project: Project, name: str) -> None:
    fixed = manifest(project)
    (project.folder / name).write_text("id,y\n1,easier\n")
    found = train.data_untouched(project, fixed)
    assert found["status"] == "fail"
    assert found["observed"] == [name]


def test_data_that_training_removed(project: Project) -> None:
    fixed = manifest(project)
    (project.folder / "evaluation.csv").unlink()
    assert train.data_untouched(project, fixed)["status"] == "fail"


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
    project: Project,
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
        assert train.training_mode(project) == mode
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
