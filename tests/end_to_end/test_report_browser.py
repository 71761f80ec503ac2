"""The HTML report in a real browser: it is read, and it asks the network for nothing."""

from __future__ import annotations

import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
import report_samples

from mlops_actions import report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OUTSIDE = "evil.example"  # The host in the names of the hostile sample.

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="NOT TESTED: there is no chromium on this machine"),
]


class _Requests(socketserver.BaseRequestHandler):
    """A proxy that answers nobody and remembers who was asked for."""

    def handle(self) -> None:
        asked = self.request.recv(4096).partition(b"\r\n")[0].decode("latin-1")
        self.server.asked.append(asked)  # type: ignore[attr-defined]


@pytest.fixture
def proxy() -> Iterator[socketserver.ThreadingTCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Requests) as server:
        server.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def browse(page: Path, profile: Path, proxy: socketserver.ThreadingTCPServer) -> tuple[str, str]:
    """Open a page; give its text as HTML, after scripts had their time, and the console."""
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={profile}",
            f"--proxy-server=127.0.0.1:{proxy.server_address[1]}", "--enable-logging=stderr",
            "--virtual-time-budget=3000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(console)


@pytest.mark.parametrize("name", ["curves", "everything", "hostile", "fork"])
def test_the_report_is_read_and_asks_for_nothing(
    tmp_path: Path, proxy: socketserver.ThreadingTCPServer, name: str
) -> None:
    folder = report_samples.write(tmp_path / "run", report_samples.SAMPLES[name]())
    made = report.write(folder, folder, name="flights", baseline=folder / "baseline")
    shown, console = browse(made.html, tmp_path / "profile", proxy)
    assert console == ""
    assert not [line for line in proxy.asked if OUTSIDE in line]  # type: ignore[attr-defined]
    assert "</main>" in shown
    assert "<img" not in shown
    expected = {
        "curves": ["flights: blessed", "Reliability on development", "carrier=UA", "wind_speed"],
        "everything": ["flights: rejected", "answer before=0.21", "Residuals by prediction"],
        "hostile": ["flights: rejected", "&lt;img src=x onerror=alert(1)&gt;"],
        "fork": ["flights: inconclusive", "The job model handed nothing over"],
    }[name]
    for text in expected:
        assert text in shown


def test_the_browser_would_show_a_request_and_an_error(
    tmp_path: Path, proxy: socketserver.ThreadingTCPServer
) -> None:
    page = tmp_path / "page.html"
    page.write_text(f'<img src="http://{OUTSIDE}/x.png"><script>console.error("oh")</script>')
    _, console = browse(page, tmp_path / "profile", proxy)
    assert "oh" in console
    assert [line for line in proxy.asked if OUTSIDE in line]  # type: ignore[attr-defined]


def test_the_policy_stops_what_a_report_never_holds(
    tmp_path: Path, proxy: socketserver.ThreadingTCPServer
) -> None:
    folder = report_samples.write(tmp_path / "run", report_samples.SAMPLES["fork"]())
    page = report.write(folder, folder, name="flights").html
    added = f'<img src="http://{OUTSIDE}/x.png"><script>document.title = "ran"</script></main>'
    page.write_text(page.read_text().replace("</main>", added))
    shown, console = browse(page, tmp_path / "profile", proxy)
    assert "Content Security Policy" in console
    assert "<title>ran" not in shown
    assert not [line for line in proxy.asked if OUTSIDE in line]  # type: ignore[attr-defined]
