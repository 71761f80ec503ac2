"""What the job `model` hands over is a stranger's: every refusal is shown to happen."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from mlops_actions import exported_run
from mlops_actions.errors import Failure

GOOD: dict[str, Any] = {
    "schema": 1,
    "run_id": "0" * 32,
    "name": "kind-fox-1",
    "status": "FINISHED",
    "start": 1,
    "end": 2,
    "params": {"depth": "3"},
    "metrics": {"auc": [{"value": 0.5, "timestamp": 1, "step": 0}]},
    "tags": {},
    "datasets": [{"name": "training", "digest": "abc"}],
    "model": {"name": "model", "params": {}},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "run.json"
    path.write_text(json.dumps({**GOOD, **changes}))
    return path


def test_a_good_run_is_read(tmp_path: Path) -> None:
    run = exported_run.read(write(tmp_path))
    assert run.model is not None
    assert run.metrics["auc"][0].value == 0.5


def test_a_metric_that_is_not_finite_is_kept_as_such(tmp_path: Path) -> None:
    nan = [{"value": "NaN", "timestamp": 1, "step": 0}]
    run = exported_run.read(write(tmp_path, metrics={"auc": nan}))
    assert math.isnan(run.metrics["auc"][0].value)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"artifact_uri": "file:///etc"}, id="a forged address of the run"),
        pytest.param({"model": {"name": "m", "source": "file:///etc"}}, id="of the model"),
        pytest.param(
            {"datasets": [{"name": "d", "digest": "x", "source": "s3://secret"}]}, id="of the data"
        ),
        pytest.param({"run_id": "../../etc"}, id="a run id with dots"),
        pytest.param({"params": {"a\nb": "1"}}, id="a name with a newline"),
        pytest.param({"params": {"a": 1}}, id="a parameter that is no text"),
        pytest.param({"params": {"a": "x" * 7000}}, id="a parameter too long"),
        pytest.param({"status": "DELETED"}, id="a state that is none"),
        pytest.param({"schema": 2}, id="another schema"),
        pytest.param({"start": -1}, id="a time before time"),
        pytest.param({"metrics": {"auc": [{"value": "1; drop"}]}}, id="a value that is no number"),
    ],
)
def test_what_the_schema_does_not_have_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(Failure, match="refused"):
        exported_run.read(write(tmp_path, **changes))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(Failure):
        exported_run.read(path)


def test_ordinary_files_pass(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.skops").write_bytes(b"1234")
    assert exported_run.check_files(tmp_path) == 4


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(Failure, match="a link or a special file"):
        exported_run.check_files(tmp_path)


def test_a_link_to_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").symlink_to("/etc", target_is_directory=True)
    with pytest.raises(Failure, match="a link or a special file"):
        exported_run.check_files(tmp_path)


def test_a_second_name_for_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    os.link(tmp_path / "one", tmp_path / "two")
    with pytest.raises(Failure, match="a link or a special file"):
        exported_run.check_files(tmp_path)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Failure, match="a link or a special file"):
        exported_run.check_files(tmp_path)


def test_artifacts_do_not_mix_with_evidence(tmp_path: Path) -> None:
    (tmp_path / "run" / "artifacts" / "mlops").mkdir(parents=True)
    with pytest.raises(Failure, match="would mix with the evidence"):
        exported_run.check_files(tmp_path)


@pytest.mark.parametrize(
    "name", ["a\\..\\b", "C:x", "line\nbreak", "bell\x07", "caf\udce9", ".git", ".GIT ", "git~1"]
)
def test_a_strange_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(Failure, match="a file is named"):
        exported_run.check_files(tmp_path)


def test_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 30)).mkdir(parents=True)
    with pytest.raises(Failure, match="too deep"):
        exported_run.check_files(tmp_path)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported_run, "MAX_FILES", 3)
    for number in range(4):
        (tmp_path / str(number)).touch()
    with pytest.raises(Failure, match="more than 3 files"):
        exported_run.check_files(tmp_path)


def test_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported_run, "MAX_BYTES", 3)
    (tmp_path / "large").write_bytes(b"1234")
    with pytest.raises(Failure, match="more than"):
        exported_run.check_files(tmp_path)
