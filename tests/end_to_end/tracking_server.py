"""A live MLflow server on PostgreSQL, both on loopback, both ended by their process."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """Find a port on loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _programs() -> Path:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    if not found:
        pytest.fail("PostgreSQL is missing: run tools/bootstrap postgresql")
    return Path(found).parent


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Start a PostgreSQL of our own in ``folder``; give its address."""
    programs, port = _programs(), free_port()
    # PostgreSQL refuses to run as root; Debian's package makes the user.
    user = "postgres" if os.geteuid() == 0 else None
    data = folder / "postgresql"
    data.mkdir(parents=True)
    if user:
        # The folders above belong to root alone, as pytest makes them.
        data = Path(f"/var/tmp/mlops-postgresql-{port}")  # noqa: S108 - removed below.
        data.mkdir(mode=0o700)
        owner = pwd.getpwnam(user)
        os.chown(data, owner.pw_uid, owner.pw_gid)
    clean = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    initialise = [programs / "initdb", "-D", data, "-U", "mlflow", "--auth=trust", "--no-sync"]
    subprocess.run(initialise, check=True, capture_output=True, user=user, env=clean, cwd="/")
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data, "-F"],
        user=user, env=clean, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait(lambda: subprocess.run(ready, check=False).returncode == 0, server, "PostgreSQL")
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(data, ignore_errors=True)


@contextlib.contextmanager
def mlflow_server(folder: Path, store: str) -> Iterator[str]:
    """Start MLflow's own server, from the locked group `server`; give its address."""
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "MLFLOW_"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.pop("PYTHONPATH", None)
    environment["UV_PROJECT_ENVIRONMENT"] = str(ROOT / "build" / "server")
    environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    sync = [uv, "sync", "--quiet", "--locked", "--only-group", "server", "--project", ROOT]
    subprocess.run(sync, check=True, env=environment)
    log = (folder / "mlflow.log").open("w")
    server = subprocess.Popen(
        [
            ROOT / "build" / "server" / "bin" / "mlflow", "server", "--host", "127.0.0.1",
            "--port", str(port), "--workers", "1", "--backend-store-uri", store,
            "--artifacts-destination", str(folder / "artifacts"),
        ],
        env=environment, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait(lambda: answers(f"{address}/health"), server, f"MLflow ({folder / 'mlflow.log'})")
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 9)
        log.close()


def answers(address: str) -> bool:
    """Say whether a server answers there."""
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310 - loopback.
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait(ready: object, process: subprocess.Popen[bytes], name: str, seconds: int = 180) -> None:
    """Wait until a process is ready; fail the test where it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"{name} ended with code {process.returncode}")
        if ready():  # type: ignore[operator]
            return
        time.sleep(0.2)
    pytest.fail(f"{name} was not ready within {seconds} s")
