"""The pipeline digest: what makes another model, and what does not."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_actions import cli, github, pipeline
from mlops_actions.config import Project, parse
from mlops_actions.errors import Failure

MINIMAL = """\
name: tiny
task: regression
target: y
id: id
data: {training: a.csv, evaluation: b.csv}
gate: {metrics: {r2: {threshold: 0.1}}}
"""
DATA: dict[str, Any] = {"training": {"digest": "1"}, "evaluation": {"release": {"digest": "2"}}}
PYTHON = "3.11.7"


def commit(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "-C", folder, "add", "."], check=True)
    subprocess.run(["git", "-C", folder, *who, "commit", "--quiet", "-m", "x"], check=True)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    files = {"train_DOT_py": "1", "uv_DOT_lock": "1", "models__a__mlops_DOT_yaml": MINIMAL}
    commit(tmp_path, **files)
    return parse(MINIMAL, tmp_path / "models" / "a" / "mlops.yaml")


def test_the_same_twice(project: Project) -> None:
    assert pipeline.digest(project, DATA, PYTHON) == pipeline.digest(project, DATA, PYTHON)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"models__a__train_DOT_py": "2"}, id="code of the model"),
        pytest.param({"train_DOT_py": "2"}, id="code shared by models"),
        pytest.param({"models__a__dvc_DOT_lock": "2"}, id="dvc.lock"),
        pytest.param({"models__a__uv_DOT_lock": "2"}, id="uv.lock"),
        pytest.param({"models__a__mlops_DOT_yaml": MINIMAL + "\n"}, id="mlops.yaml"),
    ],
)
def test_what_makes_another_model(project: Project, files: dict[str, str]) -> None:
    before = pipeline.digest(project, DATA, PYTHON)
    commit(project.folder.parents[1], **files)
    assert pipeline.digest(project, DATA, PYTHON) != before


def test_other_data_makes_another_model(project: Project) -> None:
    other = {**DATA, "training": {"digest": "other"}}
    assert pipeline.digest(project, DATA, PYTHON) != pipeline.digest(project, other, PYTHON)


def test_another_python_makes_another_model_but_not_its_patch(project: Project) -> None:
    assert pipeline.digest(project, DATA, "3.12.0") != pipeline.digest(project, DATA, PYTHON)
    assert pipeline.digest(project, DATA, "3.11.9") == pipeline.digest(project, DATA, PYTHON)


def test_prose_and_workflows_make_no_other_model(project: Project) -> None:
    before = pipeline.digest(project, DATA, PYTHON)
    top = project.folder.parents[1]
    commit(top, README_DOT_md="x", docs__a_DOT_md="x", _DOT_github__workflows__x_DOT_yml="x")
    assert pipeline.digest(project, DATA, PYTHON) == before


def test_what_the_data_command_rewrote_does_not_count(project: Project) -> None:
    commit(project.folder, dvc_DOT_lock="as committed")
    before = pipeline.digest(project, DATA, PYTHON)
    (project.folder / "dvc.lock").write_text("as rewritten")
    assert pipeline.digest(project, DATA, PYTHON) == before
    assert pipeline.lock_changed(project.folder)


def test_the_data_version_is_what_dvc_says(tmp_path: Path) -> None:
    assert pipeline.dvc_versions(tmp_path) == {}
    (tmp_path / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  prepare:\n    cmd: x\n    outs:\n"
        "    - path: data/training.parquet\n      hash: md5\n      md5: abc\n      size: 1\n"
    )
    assert pipeline.dvc_versions(tmp_path) == {"data/training.parquet": "abc"}


def test_a_broken_lock_is_said(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("stages: [1]")
    with pytest.raises(Failure, match="not a lock file"):
        pipeline.dvc_versions(tmp_path)


def test_outside_a_repository_is_said(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="git"):
        pipeline.code_digest(tmp_path)


# --- The base branch's commit --------------------------------------------------------------------


@pytest.fixture
def request_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str | None], None]]:
    def happen(sha: str | None) -> None:
        payload = {"pull_request": {"base": {"sha": sha} if sha else {}}}
        (tmp_path / "event.json").write_text(json.dumps(payload))
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
        github.event.cache_clear()

    yield happen
    github.event.cache_clear()


def test_the_base_commit_is_fetched_once(
    tmp_path: Path, request_of: Callable[[str | None], None]
) -> None:
    origin, folder = tmp_path / "origin", tmp_path / "work"
    for repository in (origin, folder):
        subprocess.run(["git", "init", "--quiet", repository], check=True)
    commit(origin, a="1")
    base = pipeline.git(origin, "rev-parse", "HEAD").strip()
    pipeline.git(folder, "remote", "add", "origin", origin.as_uri())
    request_of(base)
    assert pipeline.fetch_base(folder) == base
    assert pipeline.git(folder, "show", f"{base}:a") == "1"
    shutil.rmtree(origin)  # A later step may have neither token nor network.
    assert pipeline.fetch_base(folder) == base
    request_of("f" * 40)
    with pytest.raises(Failure, match="git fetch failed"):
        pipeline.fetch_base(folder)
    request_of(None)
    with pytest.raises(Failure, match="names no commit"):
        pipeline.fetch_base(folder)


SMOKE = """\
pull-request: smoke
smoke: {command: train, sample: 0.1, metric: r2, floor: 0, max_loss: 0.1}
"""


@pytest.mark.parametrize(("smoke", "fetched"), [(SMOKE, True), ("", False)])
def test_a_smoke_run_has_its_base_commit_before_any_user_code(
    tmp_path: Path, request_of: Callable[[str | None], None], smoke: str, *, fetched: bool
) -> None:
    origin, folder = tmp_path / "origin", tmp_path / "work"
    for repository in (origin, folder):
        subprocess.run(["git", "init", "--quiet", repository], check=True)
    commit(origin, a="1")
    base = pipeline.git(origin, "rev-parse", "HEAD").strip()
    pipeline.git(folder, "remote", "add", "origin", origin.as_uri())
    (folder / "mlops.yaml").write_text(MINIMAL + smoke)
    request_of(base)
    arguments = ["--config", str(folder / "mlops.yaml"), "fetch", "--output", str(tmp_path / "out")]
    assert cli.main(["registry", *arguments]) == 0
    there = ["git", "-C", folder, "cat-file", "-e", base]
    assert (subprocess.run(there, check=False).returncode == 0) is fetched
