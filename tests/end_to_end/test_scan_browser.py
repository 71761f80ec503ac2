"""The scan's report in a real browser: it is read, and it asks the network for nothing."""

from __future__ import annotations

import json
import socketserver
from pathlib import Path
from typing import Any

import pytest
from test_report_browser import CHROMIUM, OUTSIDE, browse, proxy

from mlops_actions import cli

__all__ = ["proxy"]  # A fixture.

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="NOT TESTED: there is no chromium on this machine"),
]
CONFIG = """\
name: flights
task: regression
target: y
id: id
data: {training: a.csv, evaluation: b.csv}
gate: {metrics: {r2: {threshold: 0.1}}}
"""


def hole(name: str, **more: str) -> dict[str, Any]:
    return {"VulnerabilityID": name, "Severity": "HIGH", "PkgName": "libfoo", **more}


def test_the_scans_report_is_read_and_asks_for_nothing(
    tmp_path: Path, proxy: socketserver.ThreadingTCPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = f'<img src="http://{OUTSIDE}/x.png" onerror="console.error(1)">'
    holes = [
        hole("CVE-2026-0001", FixedVersion="1.1", PrimaryURL=f"https://{OUTSIDE}/CVE-2026-0001"),
        hole("CVE-2026-0002", Title=f"{evil}<script>document.title = 'ran'</script>"),
        hole("CVE-2026-0003", Severity="LOW"),
    ]
    report = {
        "SchemaVersion": 2,
        "ArtifactType": "container_image",
        "Metadata": {"ImageID": f"sha256:{'a' * 64}"},
        "Results": [{"Class": "os-pkgs", "Target": evil, "Vulnerabilities": holes}],
    }
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlops.yaml").write_text(CONFIG)
    (tmp_path / "trivy.json").write_text(json.dumps(report))
    made = tmp_path / "scan.html"
    asked = ["scan", "--report", "trivy.json", "--output", "scan.json", "--html", made.name]
    assert cli.main(asked) == 1
    shown, console = browse(made, tmp_path / "profile", proxy)
    assert console == ""
    assert not [line for line in proxy.asked if OUTSIDE in line]  # type: ignore[attr-defined]
    assert "<title>flights: the scan of the image failed</title>" in shown
    assert "<img" not in shown
    for text in ("CVE-2026-0002", "CVE-2026-0003", "&lt;img src=", "looked at", "</main>"):
        assert text in shown, text
