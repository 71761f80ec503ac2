"""The comment on a pull request: one for each mlops.yaml, also while it is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_actions import cli, github
from mlops_actions.local.api import Api, serve

CONFIG = """\
name: NAME
task: regression
target: y
id: id
data: {training: a.csv, evaluation: b.csv}
gate: {metrics: {r2: {threshold: 0.1}}}
"""
BROKEN = "name: [late\n"


class PullRequest:
    """A pull request of a repository with two models, and what is said on it."""

    def __init__(self, folder: Path, double: Api) -> None:
        self.folder = folder
        self.double = double

    def write(self, model: str, text: str) -> None:
        """Write a model's mlops.yaml."""
        path = self.folder / model / "mlops.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("NAME", model))

    def say(self, model: str, report: str | None) -> list[str]:
        """Comment with a report; give every comment."""
        path = self.folder / "report.md"
        path.unlink(missing_ok=True)
        if report is not None:
            path.write_text(report)
        directory = ["--directory", str(self.folder / model)]
        assert cli.main([*directory, "comment", "--report", str(path)]) == 0
        return [one["body"] for one in self.double.comments()]


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PullRequest]:
    payload: dict[str, Any] = {"pull_request": {"number": 7}}
    (tmp_path / "event.json").write_text(json.dumps(payload))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("GITHUB_TOKEN", "token")
    github.event.cache_clear()
    double = Api(tmp_path / "api", "owner/name", "token", payload, read_only=False)
    with serve(double) as url:
        monkeypatch.setenv("GITHUB_API_URL", url)
        yield PullRequest(tmp_path, double)
    github.event.cache_clear()


def test_a_broken_configuration_replaces_the_report_of_that_model(request_: PullRequest) -> None:
    for model in ("early", "late"):
        request_.write(model, CONFIG)
        request_.say(model, f"### ✅ {model}: blessed\n")
    request_.write("late", BROKEN)
    early, late = request_.say("late", "### ⚠️ mlops.yaml: inconclusive\n")
    assert "early: blessed" in early
    assert "blessed" not in late
    assert "inconclusive" in late
    request_.write("late", CONFIG)
    early, late = request_.say("late", "### ❌ late: rejected\n")
    assert "late: rejected" in late


def test_a_gate_that_left_no_report_is_said(request_: PullRequest) -> None:
    request_.write("late", CONFIG)
    request_.say("late", "### ✅ late: blessed\n")
    (text,) = request_.say("late", None)
    assert "no verdict" in text
    assert "blessed" not in text


def test_a_path_cannot_end_the_marker(request_: PullRequest) -> None:
    request_.write("a-->b", CONFIG.replace("NAME", "late"))
    (text,) = request_.say("a-->b", "### ✅ late: blessed\n")
    assert text.splitlines()[1] == "### ✅ late: blessed"
