"""The verdict on an image: every rule of the policy, and every report that is not to be trusted."""

from __future__ import annotations

import copy
import datetime
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_actions import cli, config, github
from mlops_actions.errors import Failure
from mlops_actions.scan import trivy
from mlops_actions.scan.trusted import untrusted_configuration

BASE = """\
name: tiny
task: regression
target: y
id: id
data: {training: a.csv, evaluation: b.csv}
gate: {metrics: {r2: {threshold: 0.1}}}
"""
TODAY = datetime.datetime.now(datetime.UTC).date()
IMAGE_ID = f"sha256:{'a' * 64}"
MANIFEST = f"sha256:{'b' * 64}"
OTHER = f"sha256:{'c' * 64}"


def in_days(days: int) -> datetime.date:
    return TODAY + datetime.timedelta(days=days)


def vulnerability(**changes: Any) -> dict[str, Any]:
    return {
        "VulnerabilityID": "CVE-2020-0001",
        "PkgName": "libfoo",
        "InstalledVersion": "1.0",
        "FixedVersion": "1.1",
        "Status": "fixed",
        "Severity": "HIGH",
        "Title": "foo: a hole",
        "PrimaryURL": "https://avd.aquasec.com/nvd/cve-2020-0001",
        **changes,
    }


SECRET = {
    "RuleID": "aws-access-key-id",
    "Category": "AWS",
    "Severity": "LOW",
    "Title": "AWS Access Key ID",
    "StartLine": 3,
    "Match": "export KEY=never-to-be-seen",
    "Code": {"Lines": [{"Number": 3, "Content": "KEY=never-to-be-seen"}]},
}
ROOT_USER = {
    "ID": "DS-0002",
    "AVDID": "AVD-DS-0002",
    "Title": "Image user should not be 'root'",
    "Severity": "HIGH",
    "Status": "FAIL",
}


def image(*vulnerabilities: dict[str, Any], results: Any = (), **metadata: Any) -> dict[str, Any]:
    packages = {"Target": "tiny (debian 12.8)", "Class": "os-pkgs", "Type": "debian"}
    return {
        "SchemaVersion": 2,
        "Trivy": {"Version": "0.70.0"},
        "CreatedAt": "2026-11-01T00:00:00Z",
        "ArtifactName": "tiny:1",
        "ArtifactType": "container_image",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "12.8"},
            "ImageID": IMAGE_ID,
            "RepoDigests": [f"registry.example/tiny@{MANIFEST}"],
            **metadata,
        },
        "Results": [{**packages, "Vulnerabilities": list(vulnerabilities)}, *results],
    }


def secret(target: str = "/app/.env", **changes: Any) -> dict[str, Any]:
    return {"Target": target, "Class": "secret", "Secrets": [{**SECRET, **changes}]}


def dockerfile(*failures: dict[str, Any]) -> dict[str, Any]:
    result = {"Target": "Dockerfile", "Class": "config", "Misconfigurations": list(failures)}
    return {
        "SchemaVersion": 2,
        "ArtifactName": ".",
        "ArtifactType": "filesystem",
        "Results": [result],
    }


class Scan:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.code, self.text, self.summary = -1, "", ""
        self.predicate: dict[str, Any] = {}
        self.document: dict[str, Any] = {}

    def __call__(self, *reports: object, policy: str = "", options: tuple[str, ...] = ()) -> int:
        (self.folder / "mlops.yaml").write_text(BASE + policy)
        arguments = ["scan", "--output", "scan.json", *options]
        for number, report in enumerate(reports):
            name = f"report-{number}.json"
            text = report if isinstance(report, str) else json.dumps(report)
            (self.folder / name).write_text(text)
            arguments += ["--report", name]
        (self.folder / "summary").write_text("")
        self.code = cli.main(arguments)
        printed = self.capsys.readouterr()
        self.text = printed.out + printed.err
        self.summary = (self.folder / "summary").read_text()
        written = self.folder / "scan.json"
        self.document = json.loads(written.read_text()) if written.exists() else {}
        self.predicate = self.document.get("predicate", {})
        return self.code

    def check(self, name: str) -> dict[str, Any]:
        [found] = [one for one in self.predicate["checks"] if one["name"] == name]
        return found

    def decisions(self) -> dict[str, str]:
        return {one["id"]: one["decision"] for one in self.predicate["findings"]}


@pytest.fixture
def scan(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    github.event.cache_clear()
    return Scan(tmp_path, capsys)


# What fails.


def test_an_image_without_findings_passes(scan):
    assert scan(image()) == 0
    assert scan.predicate["verdict"] == "passed"
    assert scan.document["subject"] == [{"name": "image", "digest": {"sha256": "b" * 64}}]
    assert scan.predicate["trivy"] == "0.70.0"
    assert scan.predicate["os"] == {"family": "debian", "name": "12.8", "eosl": False}
    content = (scan.folder / "report-0.json").read_bytes()
    assert scan.predicate["reports"][0]["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("severity", "policy", "decision"),
    [
        ("CRITICAL", "", "fail"),
        ("HIGH", "", "fail"),
        ("MEDIUM", "", "listed"),
        ("LOW", "", "listed"),
        ("UNKNOWN", "", "fail"),
        ("", "", "fail"),
        (None, "", "fail"),
        ("SEVERE", "", "fail"),
        ("high", "", "fail"),
        ("UNKNOWN", "scan: {unknown_severity: warn}", "warn"),
        ("SEVERE", "scan: {unknown_severity: warn}", "warn"),
        ("HIGH", "scan: {severities: [CRITICAL]}", "listed"),
        ("LOW", "scan: {severities: [LOW]}", "fail"),
    ],
)
def test_severities(scan, severity, policy, decision):
    scan(image(vulnerability(Severity=severity)), policy=policy)
    assert scan.decisions() == {"CVE-2020-0001": decision}
    assert scan.code == (1 if decision == "fail" else 0)
    assert scan.predicate["verdict"] == ("failed" if scan.code else "passed")


@pytest.mark.parametrize(
    ("fixed", "status", "ignored"),
    [
        ("", "affected", True),
        ("", "will_not_fix", True),
        ("", "fix_deferred", True),
        (None, None, True),
        ("1.1", "fixed", False),
        ("1.1", "will_not_fix", False),
        ("6.0.3.1, 5.2.4.3", "fixed", False),
        ("", "fixed", False),
        ("", "end_of_life", False),
        ("", "a new word", False),
    ],
)
def test_without_a_fix(scan, fixed, status, ignored):
    report = image(vulnerability(FixedVersion=fixed, Status=status))
    assert scan(report) == 1
    assert scan(report, policy="scan: {ignore_unfixed: true}") == (0 if ignored else 1)
    assert scan.decisions() == {"CVE-2020-0001": "listed" if ignored else "fail"}


def test_what_has_no_fix_says_what_to_do(scan):
    scan(image(vulnerability(FixedVersion="", Status="affected")))
    assert "1 without a fix" in scan.check("vulnerabilities")["message"]
    assert "ignore_unfixed" in scan.text


@pytest.mark.parametrize(("policy", "code"), [("", 1), ("scan: {end_of_life: warn}", 0)])
def test_end_of_life(scan, policy, code):
    report = image(OS={"Family": "debian", "Name": "10.2", "EOSL": True})
    assert scan(report, policy=policy) == code
    assert scan.check("end_of_life")["observed"] is True
    assert "debian 10.2 gets no more security updates" in scan.summary
    assert ("::error::" if code else "::warning::") + "end_of_life" in scan.text


@pytest.mark.parametrize(("policy", "code"), [("", 1), ("scan: {secrets: warn}", 0)])
def test_a_secret_of_any_severity_and_never_its_text(scan, policy, code):
    assert scan(image(results=[secret()]), policy=policy) == code
    written = (scan.folder / "scan.json").read_text()
    assert "never-to-be-seen" not in scan.text + scan.summary + written
    assert "/app/.env:3" in scan.summary
    assert "aws-access-key-id" in scan.text


def test_what_a_stranger_named_is_no_workflow_command(scan):
    """The report is a file from the job that builds, and its paths are the model's."""
    hostile = "opt/model/##[add-mask]1"
    report = image(vulnerability(PkgName="##[stop-commands]zz"), results=[secret(hostile)])
    assert scan(report) == 1
    assert "[add-mask]1" in scan.text
    # An annotation is one command already: the runner looks for no other in its line.
    printed = [line for line in scan.text.splitlines() if not line.startswith("::error::")]
    assert not [line for line in printed if "##[" in line]


def test_a_dockerfile(scan):
    healthy = {"ID": "DS-0026", "Severity": "LOW", "Status": "FAIL"}
    passed = {"ID": "DS-0001", "Severity": "CRITICAL", "Status": "PASS"}
    assert scan(image(), dockerfile(healthy, passed)) == 0
    assert scan.check("misconfigurations")["status"] == "pass"
    assert scan.decisions() == {"DS-0026": "listed"}
    assert scan(image(), dockerfile(ROOT_USER)) == 1
    assert scan.check("misconfigurations")["observed"] == 1
    policy = "scan: {misconfigurations: [CRITICAL]}"
    assert scan(image(), dockerfile(ROOT_USER), policy=policy) == 0


def test_no_dockerfile_is_said(scan):
    assert scan(image()) == 0
    assert scan.check("misconfigurations")["status"] == "skipped"


def test_a_misconfiguration_counts_wherever_it_stands(scan):
    report = dockerfile(ROOT_USER)
    for result in report["Results"]:
        del result["Class"]
    assert scan(image(), report) == 1
    assert scan.check("misconfigurations")["status"] == "fail"


@pytest.mark.parametrize(("policy", "code"), [("", 1), ("scan: {no_packages: warn}", 0)])
@pytest.mark.parametrize("results", [None, [], [{"Target": "/x", "Class": "config"}]])
def test_a_scan_that_looked_at_nothing_is_no_pass(scan, results, policy, code):
    assert scan({**image(), "Results": results}, policy=policy) == code
    assert scan.check("packages")["observed"] == 0
    assert "looked at no package" in scan.text


def test_what_trivy_was_told_to_hide_counts(scan):
    hidden = {
        "Type": "vulnerability",
        "Status": "ignored",
        "Source": ".trivyignore",
        "Finding": vulnerability(),
    }
    licence = {"Type": "license", "Finding": {"Name": "GPL"}}
    report = image()
    report["Results"][0]["ExperimentalModifiedFindings"] = [hidden, licence]
    assert scan(report) == 1
    assert ".trivyignore would have hidden it" in scan.summary


def test_a_finding_of_two_reports_is_counted_once(scan):
    scan(image(vulnerability()), image(vulnerability()))
    assert scan.predicate["counts"]["HIGH"]["total"] == 1
    scan(image(vulnerability(), vulnerability(PkgName="libbar")))
    assert scan.predicate["counts"]["HIGH"] == {
        "total": 2, "fail": 2, "waived": 0, "warn": 0, "listed": 0,
    }  # fmt: skip


# Waivers.


def waiver(expires: object, **more: object) -> str:
    fields = {"id": "CVE-2020-0001", "reason": "not reached", "owner": "@org/team", **more}
    lines = "".join(f"      {key}: {json.dumps(value)}\n" for key, value in fields.items())
    return f"scan:\n  waivers:\n    -\n{lines}      expires: {expires}\n"


def test_a_waiver_holds_and_is_listed(scan):
    assert scan(image(vulnerability()), policy=waiver(in_days(5))) == 0
    [finding] = scan.predicate["findings"]
    assert finding["decision"] == "waived"
    assert finding["waived"] == {
        "owner": "@org/team",
        "reason": "not reached",
        "expires": in_days(5).isoformat(),
    }
    [listed] = scan.predicate["waivers"]
    assert (listed["status"], listed["days_left"], listed["matches"]) == ("active", 5, 1)
    assert f"| {in_days(5)} | 5 |" in scan.summary


@pytest.mark.parametrize("days", [0, -1, -400])
def test_an_expired_waiver_waives_nothing_and_is_named(scan, days):
    assert scan(image(vulnerability()), policy=waiver(in_days(days))) == 1
    assert scan.decisions() == {"CVE-2020-0001": "fail"}
    assert scan.check("waivers")["status"] == "fail"
    assert f"its waiver expired on {in_days(days)}" in scan.summary
    assert "::error file=mlops.yaml,line=13::The waiver of CVE-2020-0001 expired" in scan.text


def test_an_expired_waiver_of_what_is_repaired_fails_nothing(scan):
    assert scan(image(), policy=waiver(in_days(-1))) == 0
    assert "::warning file=mlops.yaml,line=13::The waiver of CVE-2020-0001 expired" in scan.text


def test_a_waiver_that_matches_nothing_is_said(scan):
    assert scan(image(), policy=waiver(in_days(5))) == 0
    assert scan.predicate["waivers"][0]["status"] == "unused"
    assert "matches nothing any more" in scan.text
    assert "matches nothing" in scan.summary


@pytest.mark.parametrize(
    ("more", "waived"),
    [
        ({}, True),
        ({"id": "cve-2020-0001"}, True),
        ({"id": "CVE-2020-00011"}, False),
        ({"id": "CVE-2020-000"}, False),
        ({"package": "libfoo"}, True),
        ({"package": "libbar"}, False),
        ({"target": "tiny (debian 12.8)"}, True),
        ({"target": "Python"}, False),
    ],
)
def test_what_a_waiver_is_about(scan, more, waived):
    code = scan(image(vulnerability()), policy=waiver(in_days(5), **more))
    assert code == (0 if waived else 1)


@pytest.mark.parametrize("name", ["DS002", "DS-0002", "AVD-DS-0002"])
def test_a_check_goes_by_each_of_its_names(scan, name):
    assert scan(image(), dockerfile(ROOT_USER), policy=waiver(in_days(5), id=name)) == 0
    older = {**ROOT_USER, "ID": "DS002"}
    assert scan(image(), dockerfile(older), policy=waiver(in_days(5), id=name)) == 0


def test_a_secret_is_waived_in_one_file_only(scan):
    report = image(results=[secret(), secret("/app/other")])
    name = "aws-access-key-id"
    assert scan(report, policy=waiver(in_days(5), id=name)) == 1
    assert scan.predicate["counts"]["LOW"]["fail"] == 2
    assert scan(report, policy=waiver(in_days(5), id=name, target="app/.env")) == 1
    assert scan.predicate["counts"]["LOW"]["fail"] == 1
    one = image(results=[secret()])
    assert scan(one, policy=waiver(in_days(5), id=name, target="/app/.env")) == 0


def test_a_waiver_may_not_be_long(scan):
    assert scan(image(), policy=waiver(in_days(90))) == 0
    assert scan(image(), policy=waiver(in_days(91))) == 2
    assert "line=13::The waiver of CVE-2020-0001 expires on" in scan.text
    policy = waiver(in_days(91)).replace("scan:", "scan:\n  max_waiver_days: 91")
    assert scan(image(), policy=policy) == 0


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (waiver(in_days(5)).replace("expires", "expire"), "Did you mean expires?"),
        (waiver(in_days(5)).replace("expires", "expired_at"), "expires is missing"),
        (waiver("soon"), "expected a date"),
        (waiver("2027-02-30"), "out of range"),
        (waiver('"2027-02-30"'), "out of range"),
        (waiver(in_days(5), reason=" "), "reason: says nothing"),
        (waiver(in_days(5), owner=""), "owner"),
        (waiver(in_days(5), id="*"), "id"),
        (waiver(in_days(5), why="so"), "Unknown key scan.waivers.0.why"),
        ("scan: {severities: []}", "severities"),
        ("scan: {severities: [UNKNOWN]}", "severities"),
        ("scan: {misconfigurations: []}", "misconfigurations"),
        ("scan: {ignore-unfixed: true}", "Did you mean ignore_unfixed?"),
        ("scan: {secrets: ignore}", "secrets"),
    ],
)
def test_a_policy_that_is_not_meant_is_an_error(scan, policy, message):
    assert scan(image(), policy=policy) == 2
    assert message in scan.text
    assert "file=mlops.yaml,line=" in scan.text
    assert not scan.document


def test_one_thing_is_waived_once(scan):
    twice = waiver(in_days(5)) + waiver(in_days(6)).partition("waivers:\n")[2]
    assert scan(image(), policy=twice) == 2
    assert "is waived twice" in scan.text


def test_the_text_of_a_date_counts_as_a_date(scan):
    assert scan(image(vulnerability()), policy=waiver(f'"{in_days(5)}"')) == 0


# Which image.


@pytest.mark.parametrize("digest", [IMAGE_ID, MANIFEST])
def test_the_image_is_the_one_that_was_meant(scan, digest):
    assert scan(image(), options=("--image-digest", digest)) == 0
    assert scan.document["subject"][0]["digest"]["sha256"] == digest.removeprefix("sha256:")


@pytest.mark.parametrize(
    "report", [image(), image(RepoDigests=None), image(RepoDigests=[], ImageID="")]
)
def test_another_image_is_refused(scan, report):
    (scan.folder / "scan.json").write_text("of an earlier call")
    assert scan(report, options=("--image-digest", OTHER)) == 1
    assert "another image" in scan.text
    assert not (scan.folder / "scan.json").exists()


def test_a_report_that_names_no_image_is_said(scan):
    assert scan(image(RepoDigests=None, ImageID=None)) == 0
    assert scan.check("image")["status"] == "skipped"
    assert scan.document["subject"][0]["name"] == "report-0.json"


def test_without_a_manifest_the_configuration_names_the_image(scan):
    assert scan(image(RepoDigests=None)) == 0
    assert scan.document["subject"][0]["digest"]["sha256"] == "a" * 64


def test_two_images_are_refused(scan):
    assert scan(image(), image(ImageID=OTHER)) == 1
    assert "several images" in scan.text


def test_a_dockerfile_alone_is_no_image(scan):
    assert scan(dockerfile()) == 1
    assert "No report is about an image" in scan.text


@pytest.mark.parametrize("digest", ["latest", "sha256:abc", f"sha256:{'G' * 64}", "a" * 64])
def test_what_is_no_digest(scan, digest):
    assert scan(image(), options=("--image-digest", digest)) == 2


def layout(folder: Path) -> tuple[str, str]:
    """Write a layout without layers; give the digests of manifest and configuration."""

    def blob(document: object) -> str:
        content = json.dumps(document).encode()
        name = hashlib.sha256(content).hexdigest()
        path = folder / "blobs" / "sha256" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"sha256:{name}"

    config = blob({"os": "linux"})
    manifest = blob({"schemaVersion": 2, "config": {"digest": config}, "layers": []})
    (folder / "index.json").write_text(json.dumps({"manifests": [{"digest": manifest}]}))
    return manifest, config


def test_a_layout_ties_the_manifest_to_the_report(scan):
    """A scan of a layout knows the configuration only; the registry will know the manifest."""
    manifest, config = layout(scan.folder / "image")
    report = image(ImageID=config, RepoDigests=None)
    options = ("--layout", "image")
    assert scan(report, options=("--image-digest", manifest)) == 1
    assert scan(report, options=(*options, "--image-digest", manifest)) == 0
    assert scan.predicate["image"] == manifest
    assert scan(report, options=(*options, "--image-digest", OTHER)) == 1
    assert scan(image(RepoDigests=None), options=options) == 1
    assert "is about an image with the ID" in scan.text


@pytest.mark.parametrize("name", ["manifest", "config"])
def test_a_layout_that_was_changed_is_refused(scan, name):
    folder = scan.folder / "image"
    digests = dict(zip(("manifest", "config"), layout(folder), strict=True))
    blob = folder / "blobs" / digests[name].replace(":", "/")
    blob.write_text(blob.read_text() + " ")
    report = image(ImageID=digests["config"], RepoDigests=None)
    assert scan(report, options=("--layout", "image")) == 1
    assert "not what its name says" in scan.text


# Reports that are not to be trusted.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(image())[:200], "not whole"),
        ("", "not whole"),
        ("[" * 100_000, "not whole"),
        ("[]", "not a report of Trivy's"),
        ("{}", "not a report of Trivy's"),
        ('{"matches": []}', "not a report of Trivy's"),
        ('{"SchemaVersion": 1, "ArtifactType": "container_image"}', "SchemaVersion 1"),
        ('{"SchemaVersion": 3, "ArtifactType": "container_image"}', "SchemaVersion 3"),
        ('{"SchemaVersion": "2", "ArtifactType": "container_image"}', "SchemaVersion '2'"),
        ('{"SchemaVersion": true, "ArtifactType": "container_image"}', "SchemaVersion True"),
        ('{"SchemaVersion": 2}', "no ArtifactType"),
    ],
)
def test_what_is_no_report(scan, text, message):
    assert scan(text) == 1
    assert message in scan.text
    assert "file=report-0.json" in scan.text
    assert not scan.document


def test_a_report_that_is_missing(scan):
    assert scan(options=("--report", "gone.json")) == 2
    assert "There is no such report" in scan.text


@pytest.mark.parametrize(
    "change",
    [
        {"Results": {}},
        {"Results": ["x"]},
        {"Results": [{"Class": "os-pkgs", "Vulnerabilities": "none"}]},
        {"Results": [{"Class": "os-pkgs", "Vulnerabilities": [{"Severity": "LOW"}]}]},
        {"Results": [{"Class": "os-pkgs", "Vulnerabilities": [None]}]},
        {"Results": [{"Class": "secret", "Secrets": [{"Severity": "LOW"}]}]},
        {"Results": [{"Class": "os-pkgs", "ExperimentalModifiedFindings": [{"Type": "new"}]}]},
        {"Metadata": []},
        {"Metadata": {"OS": {"Family": 3}}},
        {"Metadata": {"OS": {"EOSL": "no"}}},
    ],
)
def test_what_is_not_understood_is_an_error(scan, change):
    assert scan({**image(), **change}) == 1
    assert "not as Trivy writes it" in scan.text
    assert not scan.document


def paths(node: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: Any = {}
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    return [path for key, value in items for path in [(*here, key), *paths(value, (*here, key))]]


WHOLE = image(vulnerability(), results=[secret(), dockerfile(ROOT_USER)["Results"][0]])


@given(
    path=st.sampled_from(paths(WHOLE)),
    value=st.sampled_from([None, "", 0, -1, 1.5, True, [], {}, [None], {"a": 1}, "x" * 300]),
    gone=st.booleans(),
)
def test_no_report_gives_a_traceback(tmp_path_factory, path, value, gone):
    report = copy.deepcopy(WHOLE)
    node = report
    for key in path[:-1]:
        node = node[key]
    if gone:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    file = tmp_path_factory.mktemp("scan") / "report.json"
    file.write_text(json.dumps(report))
    try:
        read = trivy.read(file)
    except Failure:
        return
    # Whatever is missing in it, no finding gets lost but with its list.
    kinds = {one.kind for one in read.findings}
    if len(path) > 4:
        assert kinds >= {"vulnerability", "secret"}


# What people read.


def test_text_of_a_report_is_inert(scan):
    evil = vulnerability(
        VulnerabilityID="CVE-1|<b>",
        PkgName="x|y`z",
        Title="</td><script>alert(1)</script>\n\n# head @org #1 ::error::",
        PrimaryURL="javascript:alert(1)",
        InstalledVersion="1\n::error::pwned",
    )
    scan(image(evil, results=[secret("/a\n::set-output name=x::y")]))
    assert "<script>" not in scan.summary
    assert "javascript:" not in scan.summary
    rows = [line for line in scan.summary.splitlines() if line.startswith("| HIGH | CVE")]
    assert len(rows) == 1
    assert rows[0].count("|") == 9
    for line in scan.text.splitlines():
        assert not line.lstrip().startswith("::error::pwned")
        assert not line.lstrip().startswith("::set-output")


def test_what_fails_comes_first_and_the_most_severe_before(scan):
    found = [
        vulnerability(VulnerabilityID=f"CVE-2020-{number}", Severity=severity)
        for number, severity in enumerate(["LOW", "HIGH", "CRITICAL", "MEDIUM"], start=1001)
    ]
    scan(image(*found))
    assert [one["severity"] for one in scan.predicate["findings"]] == [
        "CRITICAL", "HIGH", "MEDIUM", "LOW",
    ]  # fmt: skip
    assert scan.summary.index("CVE-2020-1003") < scan.summary.index("CVE-2020-1002")
    assert scan.summary.index("CVE-2020-1002") < scan.summary.index("2 only listed by")
    assert scan.summary.index("2 only listed by") < scan.summary.index("CVE-2020-1001")


def test_a_folder_that_is_gone_is_no_place(scan):
    report = image(vulnerability())
    report["Results"][0]["Target"] = "/runner/temp/image (debian 12.8)"
    scan(report)
    assert "| debian 12.8 |" in scan.summary
    assert "/runner/temp" not in scan.summary
    assert scan.predicate["findings"][0]["target"] == "/runner/temp/image (debian 12.8)"


def test_a_long_table_is_cut_and_says_so(scan):
    found = [vulnerability(VulnerabilityID=f"CVE-2020-{number}") for number in range(1000, 1070)]
    scan(image(*found))
    assert scan.summary.count("| HIGH | [CVE") == 50
    assert "And 20 more" in scan.summary
    assert len(scan.predicate["findings"]) == 70
    assert scan.text.count("::error::CVE") == 10


PAGE_OPTIONS = ("--html", "pages/scan.html")


def page(scan: Scan) -> str:
    return (scan.folder / "pages" / "scan.html").read_text()


def test_the_page_has_every_finding_and_every_check(scan):
    low = vulnerability(VulnerabilityID="CVE-2020-0009", Severity="LOW", PkgName="libquiet")
    report = image(vulnerability(), low, results=[secret()])
    assert scan(report, policy=waiver(in_days(5)), options=PAGE_OPTIONS) == 1
    shown = page(scan)
    assert "tiny: the scan of the image failed" in shown
    for text in ("CVE-2020-0001", "CVE-2020-0009", "libquiet", "/app/.env:3", "@org/team"):
        assert text in shown, text
    for check in scan.predicate["checks"][1:]:
        assert f'<th scope="row">{check["name"]}' in shown
    assert f"<code>{MANIFEST}</code>" in shown
    assert "never-to-be-seen" not in shown
    assert "default-src &#39;none&#39;" in shown


def test_a_page_of_an_earlier_call_does_not_stay(scan):
    assert scan(image(), options=PAGE_OPTIONS) == 0
    assert "passed" in page(scan)
    assert scan("{", options=PAGE_OPTIONS) == 1
    assert not (scan.folder / "pages" / "scan.html").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--output", "report-0.json"),
        ("--output", "../{folder}/mlops.yaml"),
        ("--html", "report-0.json"),
        ("--html", "mlops.yaml"),
        ("--html", "./scan.json"),
        ("--layout", "oci", "--output", "oci/index.json"),
    ],
)
def test_a_result_never_takes_the_place_of_what_was_given(scan, options):
    layout(scan.folder / "oci")
    (scan.folder / "scan.json").write_text("{}")
    kept = {path: path.read_bytes() for path in scan.folder.rglob("*.json")}
    given = tuple(word.format(folder=scan.folder.name) for word in options)
    assert scan(image(), options=given) == 2
    assert "would replace another file of this call" in scan.text
    assert json.loads((scan.folder / "report-0.json").read_text()) == image()
    assert (scan.folder / "mlops.yaml").read_text() == BASE
    assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.parametrize("option", ["--output", "--html"])
def test_a_result_that_cannot_be_written_is_a_wrong_call(scan, option):
    (scan.folder / "folder").mkdir()
    assert scan(image(), options=(option, "folder")) == 2
    assert "::error file=folder::Is a directory." in scan.text


def test_text_of_a_report_is_inert_on_the_page(scan):
    evil = vulnerability(
        PkgName="<img src=x onerror=alert(1)>",
        Title="</style><script>alert(1)</script>",
        PrimaryURL='https://x.example/"onclick="alert(1)',
    )
    scan(image(evil, vulnerability(PrimaryURL="javascript:alert(1)")), options=PAGE_OPTIONS)
    assert "<img" not in page(scan)
    assert "<script" not in page(scan)
    assert "<a href" not in page(scan)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("success", ""),
        ("skipped", "Code scanning does not get these findings"),
        ("failure", "Code scanning did not get these findings: their upload failed"),
        ("cancelled", "Code scanning did not get these findings: their upload failed"),
    ],
)
def test_what_code_scanning_does_not_get_is_said(scan, outcome, said):
    listed = vulnerability(Severity="LOW")
    assert scan(image(listed), options=("--sarif-outcome", outcome, *PAGE_OPTIONS)) == 0
    for report in (scan.summary, page(scan)):
        assert said in report
        assert ("Code scanning" in report) is bool(said)
    assert "CVE-2020-0001" in scan.summary  # Though the policy only lists it.


@pytest.mark.parametrize(("policy", "said"), [("unattested: allow\n", True), ("", False)])
def test_that_attestations_are_not_asked_for_is_in_every_report(scan, policy, said):
    assert scan(image(), policy=policy, options=PAGE_OPTIONS) == 0
    sentence = "Evidence counts without an attestation here"
    assert (sentence in scan.summary) is said
    assert (sentence in page(scan)) is said
    assert scan.predicate["unattested"] == ("allow" if said else "refuse")


# Files of Trivy's in the repository.


@pytest.mark.parametrize(
    ("comment", "refused"),
    [
        ("# trivy:ignore:DS002", True),
        ("USER root #trivy:ignore:AVD-DS-0002:exp:2030-01-01", True),
        ("#tfsec:ignore:*", True),
        ("# Trivy asks for a user.", False),
        ("RUN echo trivy:ignore:DS002", False),
    ],
)
def test_a_comment_that_hides_a_finding_is_refused(scan, comment, refused):
    (scan.folder / "Dockerfile").write_text(f"FROM a\n{comment}\nUSER 1000\n")
    policy = "build: {dockerfile: Dockerfile}\n"
    assert scan(image(), dockerfile(), policy=policy) == (2 if refused else 0)
    assert ("file=Dockerfile,line=2::This comment hides" in scan.text) is refused
    assert bool(scan.document) is not refused


def test_files_that_would_configure_trivy_are_found(tmp_path):
    assert untrusted_configuration(tmp_path) == []
    names = [".trivyignore", ".trivyignore.yaml", "trivy.yaml", "trivy-secret.yaml"]
    for name in names:
        (tmp_path / name).write_text("")
    (tmp_path / ".trivyignore.yml").symlink_to("nowhere")
    assert {path.name for path in untrusted_configuration(tmp_path)} == {
        *names, ".trivyignore.yml",
    }  # fmt: skip


def test_they_are_said_not_to_count(scan):
    (scan.folder / ".trivyignore").write_text("CVE-2020-0001\n")
    assert scan(image(vulnerability())) == 1
    assert "::warning file=.trivyignore::Not used" in scan.text
    assert scan.predicate["ignored_configuration"] == [".trivyignore"]
    assert "trivyignore" in scan.summary


# The page about it.

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "scan.md").read_text()


def test_the_page_names_every_setting_and_its_example_is_read():
    for name in (*config.Scan.model_fields, *config.Waiver.model_fields):
        assert f"| `{name}` |" in PAGE, name
    [example] = re.findall(r"```yaml\n(scan:.*?)```", PAGE, re.DOTALL)
    assert config.parse(BASE + example, Path("mlops.yaml")).config.scan.waivers


KNOWN = vulnerability(VulnerabilityID="CVE-2025-1", FixedVersion="2.1")
UNFIXED = {"VulnerabilityID": "CVE-2025-3", "Severity": "CRITICAL", "FixedVersion": ""}
HIDDEN = {
    "Class": "os-pkgs",
    "ExperimentalModifiedFindings": [
        {"Type": "vulnerability", "Status": "ignored", "Source": ".trivyignore", "Finding": KNOWN}
    ],
}
REPORTED: dict[str, list[dict[str, Any]]] = {
    "`CVE-2025-1`, HIGH, fixed in 2.1": [image(KNOWN)],
    "`CVE-2025-2`, UNKNOWN": [image(vulnerability(Severity="UNKNOWN"))],
    "`CVE-2025-3`, CRITICAL, `will_not_fix`": [
        image(vulnerability(**UNFIXED, Status="will_not_fix"))
    ],
    "`CVE-2025-3`, CRITICAL, `end_of_life`": [
        image(vulnerability(**UNFIXED, Status="end_of_life"))
    ],
    "Debian 10, `EOSL: true`": [image(OS={"Family": "debian", "Name": "10", "EOSL": True})],
    "`aws-access-key-id`, LOW, in `/app/.env`": [image(results=[secret()])],
    "`DS-0002`, HIGH, in the Dockerfile": [image(), dockerfile(ROOT_USER)],
    "no `Results`": [{key: value for key, value in image().items() if key != "Results"}],
    "`CVE-2025-1`, hidden by an ignore file": [image(results=[HIDDEN])],
}
RULES = re.findall(
    r"^\| (.+?) \| (.+?) \| (fails|listed|a warning|waived)",
    PAGE.partition("### An example of each rule")[2].partition("\n## ")[0],
    re.MULTILINE,
)


@pytest.mark.parametrize(("reported", "given", "meaning"), RULES)
def test_the_pages_examples_are_true(scan, reported, given, meaning):
    days = {"a waiver until tomorrow": 1, "a waiver until today": 0}
    if given in days:
        policy = waiver(in_days(days[given]), id="CVE-2025-1")
    else:
        policy = "" if given == "the default" else f"scan: {{{given.strip('`')}}}"
    assert scan(*REPORTED[reported], policy=policy) == (1 if meaning == "fails" else 0)
    decided = set(scan.decisions().values())
    if meaning == "a warning" and not decided:  # Of the image, not of a finding.
        assert "::warning::" in scan.text
    elif decided:
        assert decided == {{"fails": "fail", "a warning": "warn"}.get(meaning, meaning)}


def test_every_rule_of_the_policy_has_an_example():
    assert {reported for reported, _, _ in RULES} == set(REPORTED)
    shown = " ".join(given for _, given, _ in RULES)
    for name in config.Scan.model_fields.keys() - {"waivers", "max_waiver_days"}:
        assert f"`{name}: " in shown, name
