"""The double of trivy-action, on small images made by hand, run as a step runs it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import runpy
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlops_actions import cli, github
from mlops_actions.local.wiring import DOUBLES, load
from mlops_actions.scan.trusted import write_configuration

FOLDER = DOUBLES / "aquasecurity/trivy-action"
DEBIAN = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "etc/debian_version": "12.8\n",
    "var/lib/dpkg/status": (
        "Package: libc6\nStatus: install ok installed\nSource: glibc\nVersion: 2.36-9+deb12u13\n"
        "Description: C library\n Package: not-a-field\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
    ),
}
SITE = "usr/local/lib/python3.11/site-packages"
KEY = "AKIA" + "Q" * 16  # Made here, so that no scanner takes this file for a leak.


def package(name: str, version: str, folder: str = SITE) -> dict[str, str]:
    path = f"{folder}/{name}-{version}.dist-info/METADATA"
    return {path: f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: no\n"}


def layer(files: Mapping[str, str], *, compress: bool = True) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(stream.getvalue(), mtime=0) if compress else stream.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def oci_files(layers: Sequence[Mapping[str, str]]) -> dict[str, bytes]:
    """Give the files of an OCI layout whose index also names an attestation."""
    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def blob(content: bytes) -> dict[str, Any]:
        files[f"blobs/sha256/{digest(content)}"] = content
        return {"digest": f"sha256:{digest(content)}", "size": len(content)}

    config = blob(json.dumps({"os": "linux", "rootfs": {"diff_ids": ["sha256:1"]}}).encode())
    manifest = {"schemaVersion": 2, "config": config}
    manifest["layers"] = [blob(layer(files_)) for files_ in layers]
    proof = {**blob(b"{}"), "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    index = {"manifests": [proof, blob(json.dumps(manifest).encode())]}
    files["index.json"] = json.dumps({"manifests": [blob(json.dumps(index).encode())]}).encode()
    return files


def saved_files(layers: Sequence[Mapping[str, str]]) -> dict[str, bytes]:
    """Give the files of what ``docker save`` of an old engine writes."""
    config = json.dumps({"os": "linux"}).encode()
    files = {f"{digest(config)}.json": config}
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    for name, content in zip(names, layers, strict=True):
        files[name] = layer(content, compress=False)
    manifest = [{"Config": f"{digest(config)}.json", "RepoTags": ["tiny:1"], "Layers": names}]
    return {**files, "manifest.json": json.dumps(manifest).encode()}


def as_folder(files: Mapping[str, bytes], path: Path) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def as_tar(files: Mapping[str, bytes], path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


class Step:
    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.code, self.log = -1, ""

    def image(self, *layers: Mapping[str, str]) -> Path:
        return as_folder(oci_files(layers), self.workspace.parent / "image")

    def __call__(self, **inputs: object) -> dict[str, Any]:
        """Run the step with the action's defaults; give its report."""
        action = load(FOLDER / "action.yml")
        [step] = action["runs"]["steps"]
        environment = {"PATH": os.environ["PATH"], "FORMAT": "json", "OUTPUT": "trivy.json"}
        environment |= {name: str(value) for name, value in inputs.items()}
        for name, value in step["env"].items():
            asked = str(value).removeprefix("${{ inputs.").removesuffix(" }}")
            environment.setdefault(name, str(action["inputs"][asked].get("default", "")))
        output = self.workspace / (environment["OUTPUT"] or "none")
        output.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-B", FOLDER / "scan.py"],
            env=environment,
            cwd=self.workspace,
            capture_output=True,
            text=True,
            check=False,
        )
        self.code, self.log = done.returncode, done.stdout + done.stderr
        assert "Traceback" not in self.log
        return json.loads(output.read_text()) if output.is_file() else {}


@pytest.fixture
def step(tmp_path):
    (tmp_path / "workspace").mkdir()
    return Step(tmp_path / "workspace")


def ids(report: Mapping[str, Any], kind: str = "Vulnerabilities") -> list[str]:
    key = {"Vulnerabilities": "VulnerabilityID", "Secrets": "RuleID", "Misconfigurations": "ID"}
    results = report.get("Results", [])
    return sorted(item[key[kind]] for result in results for item in result.get(kind, []))


@pytest.mark.parametrize("files", [oci_files, saved_files])
@pytest.mark.parametrize("write", [as_folder, as_tar])
def test_an_old_package_is_found_in_each_form_of_an_image(
    step, tmp_path, files: Callable[..., dict[str, bytes]], write: Callable[..., Path]
):
    content = files([DEBIAN, package("Jinja2", "2.10")])
    report = step(INPUT=write(content, tmp_path / "image"))
    assert step.log.startswith("double of aquasecurity/trivy-action: stands for Trivy")
    assert step.code == 0
    assert ids(report) == ["CVE-2019-10906", "CVE-2025-27516"]
    system, python = report["Results"]
    assert (system["Class"], system["Type"]) == ("os-pkgs", "debian")
    assert [one["Name"] for one in system["Packages"]] == ["libc6"]
    assert python["Vulnerabilities"][0] == {
        "VulnerabilityID": "CVE-2019-10906",
        "PkgName": "Jinja2",
        "PkgPath": f"{SITE}/Jinja2-2.10.dist-info/METADATA",
        "InstalledVersion": "2.10",
        "FixedVersion": "2.10.1",
        "Status": "fixed",
        "PrimaryURL": "https://github.com/advisories/GHSA-462w-v97r-4m45",
        "Title": "Jinja2 sandbox escape via string formatting",
        "Severity": "HIGH",
    }
    metadata = report["Metadata"]
    assert metadata["OS"] == {"Family": "debian", "Name": "12.8"}
    configs = [value for value in content.values() if value.startswith(b'{"os"')]
    assert metadata["ImageID"] == f"sha256:{digest(configs[0])}"


def test_the_repaired_package_is_not_found(step):
    image = step.image(DEBIAN, package("jinja2", "3.1.6"), package("requests", "2.31.0"))
    assert ids(step(INPUT=image)) == []
    assert step.code == 0


def test_what_a_later_layer_deletes_is_gone_but_a_secret_is_not(step):
    old = package("jinja2", "2.10")
    [path] = old
    folder, _, last = path.rpartition("/")
    leak = {"app/.env": f"AWS_ACCESS_KEY_ID={KEY}\n"}
    layers = DEBIAN, {**old, **leak}
    assert ids(step(INPUT=step.image(*layers))) != []
    for whiteout in (f"{folder}/.wh.{last}", f"{SITE}/.wh.jinja2-2.10.dist-info",
                     f"{SITE}/.wh..wh..opq"):  # fmt: skip
        report = step(INPUT=step.image(*layers, {whiteout: "", "app/.wh..env": ""}))
        assert ids(report) == []
        assert ids(report, "Secrets") == ["aws-access-key-id"]
    # An opaque folder hides what lies below it, not what stands beside the mark.
    marked = {f"{SITE}/.wh..wh..opq": "", **package("jinja2", "2.10.1")}
    assert ids(step(INPUT=step.image(*layers, marked))) == ["CVE-2025-27516"]


def test_debian(step):
    old = {
        **DEBIAN,
        "var/lib/dpkg/status": (
            "Package: libc6\nStatus: install ok installed\nSource: glibc (2.36-9+deb12u2)\n"
            "Version: 2.36-9+deb12u2\n\n"
            "Package: zlib1g\nStatus: install ok installed\nSource: zlib\n"
            "Version: 1:1.2.13.dfsg-1\n"
        ),
    }
    report = step(INPUT=step.image(old))
    assert ids(report) == ["CVE-2023-45853", "CVE-2023-4911"]
    unfixed = report["Results"][0]["Vulnerabilities"][1]
    assert unfixed["Status"] == "will_not_fix"
    assert "FixedVersion" not in unfixed
    assert ids(step(INPUT=step.image(old), IGNORE_UNFIXED="true")) == ["CVE-2023-4911"]
    assert ids(step(INPUT=step.image(old), VULN_TYPE="library")) == []
    buster = {**old, "etc/debian_version": "10.13\n"}
    assert step(INPUT=step.image(buster))["Metadata"]["OS"]["EOSL"] is True


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("app/.env", f"key={KEY}", ["aws-access-key-id"]),
        ("app/.env", f"key={KEY}X", []),
        ("app/token", "ghp_" + "a" * 36, ["github-pat"]),
        ("root/id", "-----BEGIN RSA " + "PRIVATE KEY-----\n" + "b" * 40, ["private-key"]),
        ("root/note", "-----BEGIN RSA " + "PRIVATE KEY-----", []),
        (f"{SITE}/x/key.pem", "-----BEGIN " + "PRIVATE KEY-----\n" + "b" * 40, []),
        ("app/program", f"\0{KEY}", []),
    ],
)
def test_secrets(step, path, text, expected):
    report = step(INPUT=step.image(DEBIAN, {path: text}))
    assert ids(report, "Secrets") == expected
    assert KEY not in json.dumps(report) + step.log
    assert ids(step(INPUT=step.image(DEBIAN, {path: text}), SCANNERS="vuln"), "Secrets") == []


def test_scanners_say_what_is_looked_at(step):
    image = step.image(DEBIAN, package("jinja2", "2.10"))
    report = step(INPUT=image, SCANNERS="secret")
    assert "Results" not in report  # As Trivy leaves it out.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\n", ["DS-0002", "DS-0026"]),
        ("FROM a\nUSER root\nHEALTHCHECK CMD x\n", ["DS-0002"]),
        ("FROM a\nUSER 0:0\nHEALTHCHECK CMD x\n", ["DS-0002"]),
        ("FROM a\nUSER 1000\n", ["DS-0026"]),
        ("FROM a\n# USER 1000\nHEALTHCHECK CMD x\n", ["DS-0002"]),
        ("FROM a\nRUN x \\\n  USER 1\nHEALTHCHECK CMD x\n", ["DS-0002"]),
        ("FROM a AS b\nUSER 1000\nFROM c\nHEALTHCHECK CMD x\n", ["DS-0002"]),
        ("FROM --platform=x a AS b\nUSER 1000\nFROM b\nHEALTHCHECK CMD x\n", []),
    ],
)
def test_dockerfiles(step, text, expected):
    (step.workspace / "Dockerfile").write_text(text)
    report = step(SCAN_TYPE="config")
    assert ids(report, "Misconfigurations") == expected
    assert report["ArtifactType"] == "filesystem"
    assert report["Results"][0]["MisconfSummary"]["Failures"] == len(expected)


def test_exit_code_and_severity(step):
    image = step.image(DEBIAN, package("requests", "2.30.0"))  # One, of MEDIUM.
    step(INPUT=image, EXIT_CODE="3")
    assert step.code == 3
    assert ids(step(INPUT=image, EXIT_CODE="3", SEVERITY="CRITICAL,HIGH")) == []
    assert step.code == 0
    # The trap: SARIF forgets the severity, and the exit code with it.
    sarif = {"EXIT_CODE": "3", "SEVERITY": "CRITICAL,HIGH", "FORMAT": "sarif"}
    step(INPUT=image, **sarif)
    assert step.code == 3
    step(INPUT=image, **sarif, LIMIT_SARIF="true")
    assert step.code == 0


def test_sarif(step):
    image = step.image(DEBIAN, package("jinja2", "2.10"), {"app/.env": KEY})
    document = step(INPUT=image, FORMAT="sarif")
    [run] = document["runs"]
    assert document["version"] == "2.1.0"
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert {"CVE-2019-10906", "aws-access-key-id"} <= set(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in {"error", "warning", "note"}
        place = result["locations"][0]["physicalLocation"]
        assert not place["artifactLocation"]["uri"].startswith("/")
        assert place["region"]["startLine"] >= 1


def test_cyclonedx(step):
    document = step(INPUT=step.image(DEBIAN, package("My_Package", "1.0")), FORMAT="cyclonedx")
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    found = {one["purl"] for one in document["components"]}
    assert found == {"pkg:deb/debian/libc6@2.36-9+deb12u13", "pkg:pypi/my-package@1.0"}
    [said] = document["metadata"]["component"]["properties"]
    assert said["name"] == "aquasecurity:trivy:ImageID"
    assert said["value"] == step(INPUT=step.workspace.parent / "image")["Metadata"]["ImageID"]
    assert document["dependencies"][0]["dependsOn"] == [
        one["bom-ref"] for one in document["components"]
    ]


def test_table_goes_to_the_log(step):
    step(INPUT=step.image(DEBIAN, package("jinja2", "2.10")), FORMAT="table", OUTPUT="")
    assert "HIGH     CVE-2019-10906" in step.log


# What a repository can do to a scan that is not careful, as docs/scan.md says.


HIDING = [
    (".trivyignore", "CVE-2019-10906\nCVE-2025-27516 exp:2020-01-01\n", ["CVE-2025-27516"]),
    (".trivyignore", "CVE-2019-10906 expires:2020-01-01\n", ["CVE-2025-27516"]),
    (".trivyignore", "# CVE-2019-10906\n", ["CVE-2019-10906", "CVE-2025-27516"]),
    ("trivy.yaml", "severity:\n  - CRITICAL\n", []),
    ("trivy.yaml", "severity: [MEDIUM]  # all\n", ["CVE-2025-27516"]),
]


@pytest.mark.parametrize(("name", "text", "left"), HIDING)
def test_files_in_the_working_directory_hide_findings(step, name, text, left):
    image = step.image(DEBIAN, package("jinja2", "2.10"))
    (step.workspace / name).write_text(text)
    assert ids(step(INPUT=image)) == left
    assert f"{name} of the working directory takes part" in step.log
    for trusted in ("ignore", "config.yaml"):
        (step.workspace / trusted).write_text("")
    report = step(INPUT=image, TRIVYIGNORES="ignore", CONFIG="config.yaml")
    assert ids(report) == ["CVE-2019-10906", "CVE-2025-27516"]


def test_an_ignore_file_named_elsewhere(step):
    image = step.image(DEBIAN, package("jinja2", "2.10"))
    (step.workspace / "trivy.yaml").write_text("ignorefile: hidden\n")
    (step.workspace / "hidden").write_text("CVE-2019-10906\nCVE-2025-27516\n")
    assert ids(step(INPUT=image)) == []


def test_rules_for_secrets_can_be_switched_off(step):
    image = step.image(DEBIAN, {"app/.env": KEY})
    (step.workspace / "trivy-secret.yaml").write_text("disable-rules:\n  - aws-access-key-id\n")
    assert ids(step(INPUT=image), "Secrets") == []


def test_our_files_leave_a_repository_nothing_to_say(step, tmp_path):
    """A change that brings every file Trivy would read hides nothing from the scan."""
    image = step.image(DEBIAN, package("jinja2", "2.10"), {"app/.env": KEY})
    (step.workspace / ".trivyignore").write_text("CVE-2019-10906\nCVE-2025-27516\n")
    (step.workspace / "trivy.yaml").write_text("severity: [LOW]\n")
    (step.workspace / "trivy-secret.yaml").write_text("disable-rules:\n  - aws-access-key-id\n")
    hidden = step(INPUT=image)
    assert (ids(hidden), ids(hidden, "Secrets")) == ([], [])
    write_configuration(tmp_path)
    ours = {"CONFIG": tmp_path / "trivy.yaml", "TRIVYIGNORES": tmp_path / "nothing.trivyignore"}
    report = step(INPUT=image, **ours)
    assert ids(report) == ["CVE-2019-10906", "CVE-2025-27516"]
    assert ids(report, "Secrets") == ["aws-access-key-id"]
    assert "takes part" not in step.log


def test_our_files_show_what_is_hidden(step, tmp_path):
    write_configuration(tmp_path)
    (tmp_path / "ignored").write_text("CVE-2019-10906\n")
    given = {"CONFIG": tmp_path / "trivy.yaml", "TRIVYIGNORES": tmp_path / "ignored"}
    report = step(INPUT=step.image(DEBIAN, package("jinja2", "2.10")), **given)
    assert ids(report) == ["CVE-2025-27516"]
    [shown] = report["Results"][1]["ExperimentalModifiedFindings"]
    assert shown["Finding"]["VulnerabilityID"] == "CVE-2019-10906"


@pytest.mark.parametrize("absolute", [True, False])
def test_a_folder_is_left_out_by_either_name(step, absolute):
    context = step.workspace / "context"
    (context / "model").mkdir(parents=True)
    for folder in (context, context / "model"):
        (folder / "Dockerfile").write_text("FROM a\n")
    skipped = context / "model" if absolute else "model"
    report = step(SCAN_TYPE="config", SCAN_REF=context, SKIP_DIRS=skipped)
    assert [result["Target"] for result in report["Results"]] == ["Dockerfile"]


def test_an_image_of_the_engine(step, tmp_path):
    """The engine is a program that answers like it: what is asked of it is what counts."""
    name = f"registry.example/tiny@sha256:{'b' * 64}"
    archive = as_tar(saved_files([DEBIAN, package("jinja2", "2.10")]), tmp_path / "image.tar")
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps([{"RepoTags": ["tiny:1"], "RepoDigests": [name]}]))
    pulled = tmp_path / "pulled"
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker").write_text(
        "#!/bin/sh\n"
        f'[ "$DOCKER_HOST" = "tcp://engine" ] || exit 9\n'
        'case "$1 $2" in\n'
        f'"image inspect") [ -e {pulled} ] && [ "$3" = "{name}" ] && exec cat {facts}; exit 1;;\n'
        f'"pull --quiet") [ "$3" = "{name}" ] && exec touch {pulled}; exit 1;;\n'
        f'"save --output") exec cp {archive} "$3";;\n'
        "esac\nexit 8\n"
    )
    (programs / "docker").chmod(0o755)
    found = {"PATH": f"{programs}:{os.environ['PATH']}", "DOCKER_ENGINE": "tcp://engine"}
    assert step(IMAGE_REF="other:1", **found) == {}
    assert "unable to find the image other:1" in step.log
    report = step(IMAGE_REF=name, **found)
    assert step.code == 0, step.log
    assert report["Metadata"]["RepoDigests"] == [name]
    assert report["ArtifactName"] == name
    assert "CVE-2019-10906" in ids(report)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "give image-ref or input"),
        ({"INPUT": "gone"}, "not an image"),
        ({"INPUT": "."}, "neither an OCI layout"),
        ({"SCAN_TYPE": "fs"}, "only image and config"),
        ({"SCAN_TYPE": "config", "FORMAT": "spdx"}, "format"),
        ({"SCAN_TYPE": "config", "SEVERITY": "SEVERE"}, "severity"),
        ({"SCAN_TYPE": "config", "SCAN_REF": "gone"}, "there is no gone"),
        ({"SCAN_TYPE": "config", "TRIVYIGNORES": "gone"}, "cannot find ignorefile"),
        ({"SCAN_TYPE": "config", "CONFIG": "gone"}, "there is no gone"),
        ({"SCAN_TYPE": "config", "TEMPLATE": "@x"}, "not known in a local run"),
        ({"SCAN_TYPE": "config", "IGNORE_UNFIXED": "yes"}, "expected true or false"),
    ],
)
def test_calls_that_are_wrong(step, inputs, message):
    assert step(**inputs) == {}
    assert step.code == 1
    assert message in step.log


def test_an_image_that_is_cut_off(step, tmp_path):
    path = as_tar(saved_files([DEBIAN]), tmp_path / "image.tar")
    path.write_bytes(path.read_bytes()[:2000])
    step(INPUT=path)
    assert step.code == 1


# With our policy behind it.


def test_stopped_and_repaired(step, monkeypatch):
    """The way of an image: a vulnerable package, a suppression that does not help, a repair."""
    monkeypatch.chdir(step.workspace)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    github.event.cache_clear()
    (step.workspace / "mlops.yaml").write_text(
        "name: tiny\ntask: regression\ntarget: y\nid: id\n"
        "data: {training: a.csv, evaluation: b.csv}\n"
        "gate: {metrics: {r2: {threshold: 0.1}}}\n"
    )

    def verdict(*layers: Mapping[str, str]) -> int:
        image = step.image(DEBIAN, *layers)
        step(INPUT=image, TRIVY_SHOW_SUPPRESSED="1")
        (step.workspace / "Dockerfile").write_text("FROM a\nUSER 1000\nHEALTHCHECK CMD x\n")
        step(SCAN_TYPE="config", OUTPUT="config.json")
        reports = ["--report", "trivy.json", "--report", "config.json"]
        return cli.main(["scan", *reports, "--output", "scan.json"])

    assert verdict(package("jinja2", "2.10")) == 1
    (step.workspace / ".trivyignore").write_text("CVE-2019-10906\n")
    assert verdict(package("jinja2", "2.10")) == 1
    assert verdict(package("jinja2", "3.1.6")) == 0
    assert verdict(package("jinja2", "3.1.6"), {"app/.env": KEY}) == 1
    assert KEY not in (step.workspace / "scan.json").read_text()


# Versions.


@pytest.fixture(scope="module")
def versions():
    return runpy.run_path(str(FOLDER / "versions.py"))


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("2.36-9+deb12u2", "2.36-9+deb12u3"),
        ("2.36-9+deb12u9", "2.36-9+deb12u13"),
        ("2.36-9", "2.36-9+deb12u1"),
        ("2.0", "1:1.0"),
        ("1.0~rc1", "1.0"),
        ("1.0~rc1-1", "1.0-1"),
        ("1.0", "1.0a"),
        ("1.0a", "1.0+"),
        ("1.9", "1.10"),
        ("1:1.2.13.dfsg-1", "1:1.3.dfsg+really1.3.1-1"),
    ],
)
def test_debian_versions(versions, lower, higher):
    assert versions["debian_is_less"](lower, higher)
    assert not versions["debian_is_less"](higher, lower)
    assert not versions["debian_is_less"](lower, lower)


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("2.9", "2.10"),
        ("3.1.6rc1", "3.1.6"),
        ("3.1.6.dev0", "3.1.6"),
        ("2023.7.21", "2023.07.22"),
        ("1.0", "1!0.1"),
    ],
)
def test_python_versions(versions, lower, higher):
    assert versions["python_key"](lower) < versions["python_key"](higher)
    assert versions["python_key"]("1.0") == versions["python_key"]("1.0.0")
    assert versions["python_key"]("2.31.0.post1") >= versions["python_key"]("2.31.0")


def test_advisories_are_cited():
    known = json.loads((FOLDER / "advisories.json").read_text())["advisories"]
    for one in known:
        assert one["url"].startswith("https://")
        assert one["severity"] in {"CRITICAL", "HIGH", "MEDIUM", "LOW"}
        assert one.get("fixed") or one["status"] == "will_not_fix"
