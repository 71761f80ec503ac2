"""Reports that Trivy itself made.

They are not part of this project: they lie beside its checkout, in ``../shared/trivy-reports``, and
are Trivy's test data (Apache-2.0, aquasecurity/trivy v0.74.0, ``integration/testdata``).
"""

from __future__ import annotations

import copy
import datetime
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from mlops_actions.config import Scan
from mlops_actions.scan import trivy
from mlops_actions.scan.image import identify
from mlops_actions.scan.policy import judge

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "trivy-reports"
TODAY = datetime.date(2026, 11, 21)
# For each report: ids that fail by default, how many findings there are, and the checks that fail.
EXPECTED: dict[str, tuple[set[str], int, set[str]]] = {
    "alpine-39": ({"CVE-2019-14697"}, 6, {"vulnerabilities", "end_of_life"}),
    "alpine-39-high-critical": ({"CVE-2019-14697"}, 2, {"vulnerabilities", "end_of_life"}),
    "alpine-39-skip": (set(), 0, {"packages"}),
    "fluentd-gems": ({"CVE-2019-18224", "CVE-2020-8165"}, 2, {"vulnerabilities"}),
    "mariner-1.0": ({"CVE-2022-0261"}, 2, {"vulnerabilities"}),
    "photon-30": ({"CVE-2019-5481", "CVE-2019-18276"}, 3, {"vulnerabilities"}),
    "sl-micro-rancher5.4": (set(), 0, set()),
    "ubi-7-comprehensive": ({"CVE-2022-40897"}, 2, {"vulnerabilities"}),
}


def whole(name: str) -> Path:
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        reason = f"SKIPPED: Trivy's own report {path.name} is not in {FOLDER}"
        warnings.warn(reason, stacklevel=2)  # A skip alone says nothing with -q.
        pytest.skip(reason)
    return path


@pytest.mark.parametrize("name", EXPECTED)
def test_trivys_own_reports(name):
    report = trivy.read(whole(name))
    failing, findings, checks = EXPECTED[name]
    judgement = judge([report], Scan(), TODAY)
    assert {one.finding.id for one in judgement.failing} == failing
    assert len(judgement.findings) == findings
    assert {one["name"] for one in judgement.reasons} == checks
    assert judgement.passed is not bool(checks)
    assert identify([report], None, None) is not None
    assert report.version == "dev"


def test_what_has_no_fix_in_them():
    report = trivy.read(whole("mariner-1.0"))
    judgement = judge([report], Scan(ignore_unfixed=True), TODAY)
    assert judgement.passed
    assert {one.because for one in judgement.findings if one.finding.id == "CVE-2022-0261"} == {
        "there is no fix (affected), ignore_unfixed"
    }


def test_every_report_there_is_known():
    whole("alpine-39")
    assert {path.stem for path in FOLDER.glob("*.json")} == set(EXPECTED)


def without(node: Any, key: str) -> Any:
    if isinstance(node, dict):
        return {name: without(value, key) for name, value in node.items() if name != key}
    return [without(value, key) for value in node] if isinstance(node, list) else node


@pytest.mark.parametrize(
    "key",
    [
        "Trivy", "ReportID", "CreatedAt", "ArtifactID", "ArtifactName", "Metadata", "OS", "EOSL",
        "RepoDigests", "RepoTags", "DiffIDs", "Layers", "ImageConfig", "Target", "Type", "PkgID",
        "PkgPath", "PkgIdentifier", "InstalledVersion", "FixedVersion", "Status", "Layer", "Title",
        "SeveritySource", "PrimaryURL", "DataSource", "Fingerprint", "Description", "CweIDs",
        "VendorSeverity", "VendorIDs", "CVSS", "References", "PublishedDate", "LastModifiedDate",
        "Severity", "Class",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["fluentd-gems", "ubi-7-comprehensive", "alpine-39"])
def test_whatever_is_missing_no_finding_gets_lost(tmp_path, name, key):
    document = json.loads(whole(name).read_text())
    path = tmp_path / "report.json"
    path.write_text(json.dumps(without(copy.deepcopy(document), key)))
    judgement = judge([trivy.read(path)], Scan(), TODAY)
    failing, findings, _ = EXPECTED[name]
    assert len(judgement.findings) == findings
    assert {one.finding.id for one in judgement.failing} >= failing
    assert not judgement.passed
