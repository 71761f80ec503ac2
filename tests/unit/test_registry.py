"""The registry where it starts no server; its page: end_to_end/test_flights.py."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from mlops_actions.cli import main
from mlops_actions.errors import ConfigurationError
from mlops_actions.registry.store import ServerRegistry

CONFIG = """\
name: tiny
task: regression
target: y
id: id
data: {training: a.csv, evaluation: b.csv}
gate: {metrics: {r2: {threshold: 0.1}}}
"""


@pytest.fixture
def ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command, in a repository whose origin is empty."""
    for name in ("MLFLOW_TRACKING_URI", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    origin, folder = tmp_path / "origin.git", tmp_path / "work"
    subprocess.run(["git", "init", "--quiet", "--bare", origin], check=True)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    subprocess.run(["git", "-C", folder, "remote", "add", "origin", origin], check=True)
    (folder / "mlops.yaml").write_text(CONFIG)
    monkeypatch.chdir(folder)
    return ["registry", "ui"]


def test_a_servers_page_is_its_own(
    ui: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    assert main(ui) == 0
    assert "https://mlflow.example" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKEN", "s3cr3t\nmore"), ("TOKEN", "s3cr3t\t"), ("TOKEN", "s3cr\u00e9t"),
        ("USERNAME", "s3cr3t\nmore"), ("PASSWORD", "s3cr3t\x00"),
    ],
)  # fmt: skip
def test_a_credential_that_no_header_takes_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    given = {f"MLFLOW_TRACKING_{name}": value}
    monkeypatch.setattr(os, "environ", {**os.environ, **given})
    with pytest.raises(ConfigurationError, match=f"MLFLOW_TRACKING_{name}") as problem:
        ServerRegistry("http://127.0.0.1:9")
    assert value[:4] not in str(problem.value)


@pytest.mark.parametrize(("value", "kept"), [("s3cr3t\r\n", "s3cr3t"), ("", None), ("\n", None)])
def test_a_credential_is_handed_on_without_its_line_break(
    monkeypatch: pytest.MonkeyPatch, value: str, kept: str | None
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "MLFLOW_TRACKING_TOKEN": value})
    ServerRegistry("http://127.0.0.1:9")
    assert os.environ.get("MLFLOW_TRACKING_TOKEN") == kept


def test_a_port_that_cannot_be_had_is_said(
    ui: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for port in (taken.getsockname()[1], 99999):
            assert main([*ui, "--port", str(port)]) == 2
            assert f"--port {port}: " in capsys.readouterr().err


def test_without_a_registry_there_is_no_page(
    ui: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(ui) == 1
    assert "There is no embedded registry yet" in capsys.readouterr().err
