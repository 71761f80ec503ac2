"""An advisory appears about the image in use: one issue, until a repaired image is used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import engine as machine
import pytest
from conftest import Consumer
from test_image import (
    INSTALL,
    NO_FIX,
    PASSWORD,
    consumer,
    dockerfile,
    engine,
    errors,
    pushed,
    settings,
)

from mlops_actions.local import LocalRun
from mlops_actions.local.wiring import DOUBLES
from mlops_actions.rescan.issue import marker

__all__ = ["consumer", "engine"]  # Fixtures.

pytestmark = pytest.mark.slow

TRIVY = "aquasecurity/trivy-action"
CALLER = """\
name: Rescan
on:
  schedule: [{{ cron: "43 5 * * *" }}]
permissions: {{}}
jobs:
  rescan:
    uses: mlops-actions/mlops-actions/.github/workflows/rescan.yml@main
    permissions:
      contents: read
      packages: read
      issues: write
    with:
      registry: {registry}
"""


def tomorrow(folder: Path) -> dict[str, Path]:
    """Give a scanner to which an advisory that was MEDIUM has become HIGH."""
    shutil.copytree(DOUBLES / TRIVY, folder)
    path = folder / "advisories.json"
    document = json.loads(path.read_text())
    [scored] = [one for one in document["advisories"] if one["id"] == "CVE-2025-27516"]
    assert (scored["severity"], scored["fixed"]) == ("MEDIUM", "3.1.6")
    scored["severity"] = "HIGH"
    path.write_text(json.dumps(document))
    return {TRIVY: folder}


def build(consumer: Consumer, registry: str, jinja2: str, base: str, **options: object) -> LocalRun:
    """Build with a version of jinja2, whether or not an image is recorded; give the run."""
    line = f"RUN {INSTALL} jinja2=={jinja2}"
    dockerfile(consumer, base, "USER root", line, "USER 65532")
    inputs = {"registry": registry, "rebuild": "true"}
    run = consumer.happens(
        "workflow_dispatch", workflow="build.yml", inputs=inputs, secrets=PASSWORD, **options
    )
    pushed(run)
    return run


def rescan(consumer: Consumer, **options: object) -> LocalRun:
    run = consumer.happens("schedule", workflow="rescan.yml", **options)
    assert "Building the image" not in run.log
    return run


def test_one_issue_while_the_image_in_use_is_vulnerable(
    consumer: Consumer, engine: machine.Engine, tmp_path: Path
) -> None:
    settings(consumer, NO_FIX)
    with machine.registry(tmp_path / "images") as registry:
        caller = consumer.folder / ".github/workflows/rescan.yml"
        caller.write_text(CALLER.format(registry=registry))
        consumer.commit("Rescan")

        nothing = rescan(consumer)
        assert nothing.green, nothing.log[-5000:]
        assert nothing.jobs["rescan/verdict"].result == "skipped"

        first = build(consumer, registry, "3.1.5", engine.base).outputs["build"]["digest"]
        today = rescan(consumer)
        assert today.green, today.log[-5000:]
        assert today.outputs["rescan"]["verdict"] == "passed"
        assert today.outputs["rescan"]["digest"] == first
        assert today.issues == []

        # An advisory appears.
        scanner = tomorrow(tmp_path / "trivy-action")
        found = rescan(consumer, actions=scanner)
        assert not found.green
        assert found.jobs["rescan/scan"].result == "success"
        assert found.outputs["rescan"]["verdict"] == "failed"
        assert "cve-2025-27516 in jinja2" in errors(found).lower()
        [issue] = found.issues
        assert issue["state"] == "open"
        assert issue["body"].startswith(f"{marker('late-flights', 'auto')}\n")
        for text in ("CVE-2025-27516", f"@{first}", "version 1 (`challenger`)"):
            assert text in issue["body"], text
        assert found.outputs["rescan"]["issue"] == issue["html_url"]
        assert (found.artifact("mlops-late-flights-rescan") / "rescan.html").is_file()
        # Its layers stay where they are: what describes the image is handed over.
        handed = list(found.artifact("mlops-late-flights-deployed").rglob("*"))
        assert sum(path.stat().st_size for path in handed if path.is_file()) < 5_000_000

        # It is still there the day after: the same issue.
        [same] = rescan(consumer, actions=scanner).issues
        assert (same["number"], same["state"]) == (issue["number"], "open")

        # The repaired image is in use.
        run = build(consumer, registry, "3.1.6", engine.base, actions=scanner)
        second = run.outputs["build"]["digest"]
        assert second != first
        repaired = rescan(consumer, actions=scanner)
        assert repaired.green, repaired.log[-5000:]
        assert repaired.outputs["rescan"]["digest"] == second
        [closed] = repaired.issues
        assert (closed["number"], closed["state"]) == (issue["number"], "closed")
        assert f"@{second}` passes its scan" in repaired.comments[-1]["body"]

        # The registry is out of reach: no pass, and nothing is opened or closed.
    gone = rescan(consumer, actions=scanner)
    assert not gone.green
    assert gone.jobs["rescan/scan"].result == "failure"
    assert gone.jobs["rescan/verdict"].result == "skipped"
    assert [one["state"] for one in gone.issues] == ["closed"]
