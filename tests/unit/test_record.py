"""What is recorded of an image, on a real branch, and when it is not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mlops_actions import cli, evidence, github
from mlops_actions.build import blessed as versions
from mlops_actions.state import BRANCH, Branch

CONFIG = """\
name: m
task: regression
target: y
id: id
data: {training: a.csv, evaluation: b.csv}
gate: {metrics: {r2: {threshold: 0.1}}}
"""
DIGEST = f"sha256:{'1' * 64}"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, origin = tmp_path / "work", tmp_path / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", origin], check=True)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    subprocess.run(["git", "-C", folder, "remote", "add", "origin", origin], check=True)
    (folder / "mlops.yaml").write_text(CONFIG)
    for name in ("GITHUB_WORKSPACE", "GITHUB_EVENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def handover(tmp_path: Path) -> Path:
    folder = tmp_path / "image"
    for stage in ("build", "scan"):
        document = evidence.statement(stage, "passed", [], subjects=[])
        evidence.write_json(folder / f"{stage}.json", document)
    document = evidence.statement(
        "push", "passed", [], subjects=[], model="m", version="3", run_id="r", image="host/m",
        digest=DIGEST, reference=f"host/m@{DIGEST}", tags=["v3"], base=None, unattested="refuse",
    )  # fmt: skip
    evidence.write_json(folder / "push.json", document)
    return folder


def record(repository: Path, handover: Path, attested: str = "true") -> int:
    words = ["--config", str(repository / "mlops.yaml"), "--handover", str(handover)]
    return cli.main(["record", *words, "--attested", attested])


def test_a_record_names_the_image_and_what_it_rests_on(
    repository: Path, handover: Path, tmp_path: Path
) -> None:
    assert record(repository, handover) == 0
    checkout = Branch(repository=repository).checkout(tmp_path / "look")
    found = versions.read_record(checkout, "m", "3")
    assert found is not None
    assert found["reference"] == f"host/m@{DIGEST}"
    assert found["attested"] is True
    assert found["previous_record"] is None
    document = json.loads((checkout.folder / "images/m/3.json").read_text())
    assert document["subject"] == [evidence.subject("host/m", "1" * 64)]
    checkout.bring(["images/m/3"])
    for item in found["previous"]:
        kept = checkout.folder / "images/m/3" / item["name"]
        assert evidence.sha256_file(kept) == item["digest"]["sha256"]
    assert versions.read_record(checkout, "m", "4") is None


def test_a_record_carries_the_digest_of_the_one_before(
    repository: Path, handover: Path, tmp_path: Path
) -> None:
    record(repository, handover)
    checkout = Branch(repository=repository).checkout(tmp_path / "first")
    versions.read_record(checkout, "m", "3")
    before = evidence.sha256_file(checkout.folder / "images/m/3.json")
    record(repository, handover, attested="false")
    again = versions.read_record(
        Branch(repository=repository).checkout(tmp_path / "second"), "m", "3"
    )
    assert again is not None
    assert again["previous_record"] == before
    assert again["attested"] is False


def test_another_ref_records_nothing(
    repository: Path, handover: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = tmp_path / "event.json"
    payload.write_text(json.dumps({"repository": {"default_branch": "main"}}))
    monkeypatch.setenv("GITHUB_EVENT_NAME", "workflow_dispatch")
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(payload))
    monkeypatch.setenv("GITHUB_REF", "refs/heads/topic")
    github.event.cache_clear()
    try:
        assert record(repository, handover) == 2
    finally:
        github.event.cache_clear()
    refs = subprocess.run(
        ["git", "-C", repository, "ls-remote", "origin", BRANCH],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert refs.stdout == ""


def test_what_was_not_pushed_is_not_recorded(repository: Path, handover: Path) -> None:
    (handover / "push.json").unlink()
    assert record(repository, handover) == 1
