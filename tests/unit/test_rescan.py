"""The image in use is judged by today's policy, and somebody is told."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from images_in_use import CONFIG, Repository

from mlops_actions import cli, evidence, github
from mlops_actions.rescan import command
from mlops_actions.rescan.issue import Issue, marker
from mlops_actions.scan.image import read_layout

HOLE = {
    "VulnerabilityID": "CVE-2026-0001",
    "PkgName": "libfoo",
    "InstalledVersion": "1.0",
    "FixedVersion": "1.1",
    "Severity": "HIGH",
}


class Told:
    """Stands in the place of GitHub's issues."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, title: str, body: str | None, **more: str) -> Issue:
        self.calls.append({"title": title, "body": body, **more})
        outcome = "closed" if body is None else "opened"
        return Issue(outcome=outcome, url="https://github.com/octo/model/issues/1")


class Rescan:
    def __init__(self, repository: Repository, told: Told) -> None:
        self.repository, self.told = repository, told
        self.work = repository.folder / "work"

    def fetch(self) -> None:
        assert cli.main(["deployed", "--output", "work"]) == 0

    def report(self, *holes: dict[str, str], **more: Any) -> None:
        """Write what Trivy would say of the image that was fetched."""
        packages = {"Target": "tiny (debian 12.8)", "Class": "os-pkgs"}
        document = {
            "SchemaVersion": 2,
            "ArtifactType": "container_image",
            "Metadata": {"ImageID": read_layout(self.work / "layout").config},
            "Results": [{**packages, "Vulnerabilities": list(holes)}],
            **more,
        }
        (self.work / "trivy.json").write_text(json.dumps(document))

    def __call__(self, *options: str) -> int:
        return cli.main(["rescan", "--handover", "work", *options])


@pytest.fixture
def rescan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rescan:
    repository = Repository(tmp_path, monkeypatch)
    told = Told()
    monkeypatch.setattr(command, "keep", told)
    repository.push("1")
    happens(tmp_path, monkeypatch, "refs/heads/main")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    return Rescan(repository, told)


def happens(folder: Path, monkeypatch: pytest.MonkeyPatch, ref: str) -> None:
    event = folder / "event.json"
    event.write_text(json.dumps({"repository": {"default_branch": "main"}}))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    monkeypatch.setenv("GITHUB_EVENT_NAME", "workflow_dispatch")
    monkeypatch.setenv("GITHUB_REF", ref)
    monkeypatch.setenv("GITHUB_REPOSITORY", "octo/model")
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    github.event.cache_clear()


def test_a_new_hole_is_told(rescan):
    rescan.fetch()
    rescan.report(HOLE)
    assert rescan() == 1
    [told] = rescan.told.calls
    assert told["title"] == "tiny: the image in use fails its scan"
    assert told["mark"] == marker("tiny", "auto")
    assert told["token"] == "secret"  # noqa: S105
    digest = rescan.repository.output("digest")
    for text in ("CVE-2026-0001", f"@{digest}", "version 1", "/octo/model/actions/runs/7"):
        assert text in told["body"], text
    assert rescan.repository.output("verdict") == "failed"
    assert rescan.repository.output("issue") == "https://github.com/octo/model/issues/1"
    found = evidence.read(rescan.work / "rescan.json", "rescan")
    assert found["verdict"] == "failed"
    assert found["image"] == digest
    assert [one["name"] for one in found["previous"]] == ["deployed.json"]
    assert "CVE-2026-0001" in (rescan.work / "rescan.html").read_text()


def test_a_repaired_image_closes_it(rescan):
    rescan.fetch()
    rescan.report()
    assert rescan() == 0
    [told] = rescan.told.calls
    assert told["body"] is None
    assert "passes its scan" in told["closing"]
    assert rescan.repository.output("verdict") == "passed"


def test_the_policy_is_todays(rescan):
    rescan.fetch()
    rescan.report(HOLE)
    today = datetime.datetime.now(datetime.UTC).date()
    for days, code in ((1, 0), (0, 1)):
        expires = today + datetime.timedelta(days=days)
        (rescan.repository.folder / "mlops.yaml").write_text(
            f"{CONFIG}scan:\n  waivers:\n    - id: CVE-2026-0001\n      reason: r\n"
            f"      owner: o\n      expires: {expires}\n"
        )
        assert rescan() == code
    assert "its waiver expired" in rescan.told.calls[-1]["body"]


def test_each_alias_has_an_issue_of_its_own(rescan):
    rescan.repository.registry.known = {"champion": "1", "staging": "1"}
    assert cli.main(["deployed", "--output", "work", "--alias", "staging"]) == 0
    rescan.report()
    assert rescan("--alias", "staging") == 0
    assert rescan.told.calls[0]["mark"] == marker("tiny", "staging")


def test_what_changed_meanwhile_is_not_judged(rescan, capsys):
    rescan.fetch()
    rescan.report()
    rescan.repository.push("2")
    rescan.repository.registry.known = {"champion": "2"}
    assert rescan() == 1
    assert "changed meanwhile" in capsys.readouterr().err
    assert rescan.told.calls == []


@pytest.mark.parametrize(
    "report",
    [
        {"Metadata": {"ImageID": f"sha256:{'9' * 64}"}},
        {"Metadata": {}},
        {"ArtifactType": "filesystem"},
    ],
)
def test_a_report_about_another_image_closes_nothing(rescan, report):
    rescan.fetch()
    rescan.report(**report)
    assert rescan() == 1
    assert rescan.told.calls == []
    assert not (rescan.work / "rescan.json").exists()


def test_a_report_that_looked_at_nothing_is_told(rescan):
    rescan.fetch()
    rescan.report(Results=[])
    assert rescan() == 1
    assert "looked at no package" in rescan.told.calls[0]["body"]


def test_another_branch_tells_nobody(rescan, tmp_path, monkeypatch, capsys):
    rescan.fetch()
    rescan.report()
    happens(tmp_path, monkeypatch, "refs/heads/quiet")
    assert rescan() == 2
    assert "Only the default branch" in capsys.readouterr().err
    assert rescan.told.calls == []


def test_without_a_token_nobody_would_be_told(rescan, monkeypatch, capsys):
    rescan.fetch()
    rescan.report(HOLE)
    monkeypatch.setenv("GITHUB_TOKEN", "")
    assert rescan() == 2
    assert "nobody would be told" in capsys.readouterr().err
