"""The registry on a live MLflow server with PostgreSQL, and servers that misbehave."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Consumer
from tracking_server import free_port, mlflow_server, postgresql

from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.exported_run import ExportedRun
from mlops_actions.registry import baseline
from mlops_actions.registry.store import ServerRegistry, Version, quiet
from mlops_actions.state import Branch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with postgresql(folder) as store, mlflow_server(folder, store) as address:
        yield address


def test_the_server_is_the_registry(generated: Consumer, server: str, tmp_path: Path) -> None:
    secrets = {"MLFLOW_TRACKING_URI": server}
    run = generated.happens("push", secrets=secrets)
    assert run.green, run.log[-5000:]
    assert run.outputs["train"]["version"] == "1"
    # State is on the branch with either registry; the registry itself is not.
    assert "registry/" not in run.git("ls-tree", "-r", "--name-only", "mlops-state")
    quiet()
    registry = ServerRegistry(server)
    assert registry.aliases("late-flights") == {"challenger": "1"}
    version = registry.version("late-flights", "1")
    registry.download_model(version, tmp_path / "model")
    assert (tmp_path / "model" / "MLmodel").is_file()
    registry.download_evidence(version, tmp_path / "evidence")
    assert (tmp_path / "evidence" / "publish.json").is_file()
    assert (tmp_path / "evidence" / "predictions" / "release" / "candidate.parquet").is_file()
    # The next one finds it there, and a pull request is compared with it.
    again = generated.happens("push", secrets=secrets)
    assert again.outputs["train"]["verdict"] == "unchanged"
    generated.branch("fewer")
    generated.replace("params.yaml", r"^(\s+max_iter:).*", r"\1 5")
    generated.commit("Far fewer iterations")
    worse = generated.happens("pull_request", workflow="quality-gate.yml", secrets=secrets)
    assert worse.outputs["quality-gate"]["verdict"] == "rejected"
    assert worse.outputs["quality-gate"]["baseline-version"] == "1"
    # A fork gets no secrets: no sight of the champion is not the absence of one.
    fork = generated.happens(
        "pull_request", workflow="quality-gate.yml", secrets=secrets, fork=True
    )
    assert fork.outputs["quality-gate"]["verdict"] == "inconclusive"


class _Handler(http.server.BaseHTTPRequestHandler):
    status = 401
    delay = 0.0

    def _answer(self) -> None:
        time.sleep(self.delay)
        with contextlib.suppress(OSError):
            self.send_response(self.status)
            self.end_headers()

    do_GET = do_POST = _answer  # noqa: N815 - the library's names.

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def misbehaving(status: int = 401, delay: float = 0.0) -> Iterator[str]:
    with serving(type("Handler", (_Handler,), {"status": status, "delay": delay})) as address:
        yield address


@contextlib.contextmanager
def serving(handler: type[_Handler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("status", "delay", "message"),
    [
        (401, 0, "it answered 401: the secrets MLFLOW_TRACKING_TOKEN"),
        (403, 0, "it answered 403"),
        (200, 30, "does not answer in time"),
    ],
)
def test_a_server_that_misbehaves_is_named(status: int, delay: float, message: str) -> None:
    quiet()
    with misbehaving(status, delay) as address, pytest.raises(Failure, match=message) as problem:
        ServerRegistry(address).aliases("m")
    assert "The MLflow server 127.0.0.1" in str(problem.value)
    assert "Traceback" not in str(problem.value)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_down_is_named() -> None:
    quiet()
    with pytest.raises(Failure, match="cannot be reached"):
        ServerRegistry(f"http://127.0.0.1:{free_port()}").aliases("m")


class _Proxy(_Handler):
    """Pass requests on to a server, until one asks for ``ends``: from then on, misbehave."""

    server_address: str
    ends: str
    broken = False

    def _pass_on(self) -> None:
        kind = type(self)
        kind.broken = kind.broken or f"{self.command} {self.path}".startswith(self.ends)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        if kind.broken and self.status:
            self._answer()
            return
        if kind.broken:  # Down: hang up.
            self.close_connection = True
            return
        headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
        request = urllib.request.Request(  # noqa: S310 - loopback.
            self.server_address + self.path, body, headers, method=self.command
        )
        try:
            answer = urllib.request.urlopen(request)  # noqa: S310
        except urllib.error.HTTPError as problem:
            answer = problem
        with answer:
            content = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815


def _publish(registry: ServerRegistry, folder: Path) -> Version:
    for name in ("run/model", "kept", "record"):
        (folder / name).mkdir(parents=True)
    (folder / "run/model/MLmodel").write_text("flavors: {}\n")
    (folder / "kept/gate.json").write_text("{}")
    (folder / "record/publish.json").write_text("{}")
    return registry.publish(
        name="interrupted",
        run=ExportedRun.model_validate(
            {
                "schema": 1, "run_id": "a" * 32, "name": "fox", "status": "FINISHED", "start": 1,
                "end": 2, "params": {}, "metrics": {}, "tags": {}, "datasets": [],
                "model": {"name": "model"},
            }
        ),
        folder=folder / "run",
        kept=folder / "kept",
        tags={},
        alias="challenger",
        record=lambda _: folder / "record",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "delay", "message"),
    [(401, 0, "it answered 401"), (200, 60, "in time"), (0, 0, "cannot be reached")],
)
@pytest.mark.parametrize(
    "ends",
    [
        "PUT /api/2.0/mlflow-artifacts/",
        "POST /api/2.0/mlflow/model-versions/create",
        "POST /api/2.0/mlflow/registered-models/alias",
    ],
)
def test_a_server_that_fails_in_mid_publish_moves_no_alias(
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: str,
    status: int,
    delay: float,
    message: str,
) -> None:
    quiet()
    # Enough for a live server that has just begun, and less than the delay.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    direct = ServerRegistry(server)
    before = _publish(direct, tmp_path / "first").version
    options = {"server_address": server, "ends": ends, "status": status, "delay": delay}
    proxy = type("Proxy", (_Proxy,), options)
    with serving(proxy) as address, pytest.raises(Failure, match=message):
        _publish(ServerRegistry(address), tmp_path / "second")
    assert direct.aliases("interrupted") == {"challenger": before}


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_down_is_no_missing_champion(
    generated: Consumer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlops_actions import config

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    project = config.load(generated.folder / "mlops.yaml")
    branch = Branch(repository=generated.folder)
    document = baseline.fetch(project, tmp_path / "baseline", branch, model=True)
    assert document["baseline"] is None
    assert "cannot be reached" in document["problem"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:///x.db", "expected the address of a server"),
        ("file:///etc", "expected the address of a server"),
        ("http://user:secret@host", "carries credentials"),
    ],
)
def test_an_address_that_is_none_is_refused(uri: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as problem:
        ServerRegistry(uri)
    assert "secret@" not in str(problem.value)
