"""A real Docker engine, a base image and a registry, for tests on a bare machine.

The engine gets a socket, a data folder and no bridge of its own: nothing else on the machine sees
it, and no rule of its firewall changes. Each is ended by its process id.

    python tests/end_to_end/engine.py             prints an engine's variables; keeps it running
    python tests/end_to_end/engine.py COMMAND...  runs a command with an engine and a registry

The command finds the registry's host in DEMO_REGISTRY and, where the engine is ours, the name of
the base image in DEMO_BASE. An engine that already answers is used as it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = "ca-certificates,python3,python3-venv"
_DOCKERD = ("/usr/sbin/dockerd", "/usr/bin/dockerd", "/usr/local/bin/dockerd")
_PATIENCE = 60  # Seconds for a program to answer.


class Missing(Exception):
    """This machine cannot run an engine; the message says what it lacks."""


def cache() -> Path:
    """Where the base image's files and the engine's data are kept between runs."""
    base = os.environ.get("RUNNER_TOOL_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mlops-actions"


def _program(*names: str) -> str:
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise Missing(f"{Path(names[0]).name} is not installed: tools/bootstrap docker")


def crane() -> str:
    """The crane that tools/go.mod locks."""
    answer = subprocess.run(
        ["go", "tool", "-n", "crane"], cwd=ROOT / "tools", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if answer.returncode:
        raise Missing(f"crane cannot be built: {answer.stderr.strip()[-500:]}")
    return answer.stdout.strip()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(words: list[str], log: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its output in ``log``, ended with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, ready: object) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        if ready():  # type: ignore[operator]
            return
        time.sleep(0.2)
    said = log.read_text(errors="replace")[-3000:]
    raise RuntimeError(f"{process.args[0]} did not start:\n{said}")


@contextlib.contextmanager
def registry(folder: Path, port: int | None = None) -> Iterator[str]:
    """A registry on loopback that keeps its images in ``folder``; gives ``localhost:PORT``."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    words = [crane(), "registry", "serve", "--address", f"127.0.0.1:{port}", "--disk", str(folder)]
    log = folder.with_suffix(".log")

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with running(words, log) as process:
        _wait(process, log, answers)
        yield f"localhost:{port}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that runs."""

    socket: Path
    config: Path  # DOCKER_CONFIG, with buildx among its plug-ins.
    base: str  # Name of the base image.

    @property
    def variables(self) -> dict[str, str]:
        """What leads a Docker client to this engine."""
        return {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.config)}

    def docker(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run the client."""
        return subprocess.run(
            ["docker", *words], env={**os.environ, **self.variables}, check=True,
            capture_output=True, text=True, **options,
        )  # type: ignore[call-overload,no-any-return]  # fmt: skip


def mirror() -> tuple[str, str]:
    """Debian's mirror and suite, as apt on this machine knows them."""
    for file in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        text = file.read_text(encoding="utf-8")
        uri = re.search(r"^URIs:\s*(\S+)", text, re.MULTILINE)
        suite = re.search(r"^Suites:\s*(\S+)", text, re.MULTILINE)
        if uri and suite:
            return uri[1], suite[1]
    raise Missing("no mirror of Debian in /etc/apt/sources.list.d")


def _base_files() -> Path:
    """The files of a small Debian with Python, made once."""
    uri, suite = mirror()
    tar = cache() / f"base-{suite}.tar"
    if not tar.is_file():
        if os.getuid() != 0:
            raise Missing("making a base image needs root")
        program = _program("debootstrap", "/usr/sbin/debootstrap")
        tar.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="base-") as folder:
            words = [program, "--variant=minbase", f"--include={PACKAGES}", suite, folder, uri]
            subprocess.run(words, check=True, stdout=sys.stderr)
            shutil.rmtree(Path(folder) / "var/cache/apt")
            shutil.rmtree(Path(folder) / "var/lib/apt/lists")
            partial = tar.with_suffix(".partial")
            subprocess.run(["tar", "-C", folder, "-cf", str(partial), "."], check=True)
            partial.replace(tar)
    return tar


def _buildx(folder: Path) -> None:
    found = [
        Path(program)
        for program in (
            ROOT / ".tools/bin/buildx",
            Path.home() / ".docker/cli-plugins/docker-buildx",
            Path("/usr/libexec/docker/cli-plugins/docker-buildx"),
            Path("/usr/lib/docker/cli-plugins/docker-buildx"),
        )
        if Path(program).is_file()
    ]
    if not found:
        raise Missing("buildx is not installed: tools/bootstrap docker")
    plugins = folder / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    (plugins / "docker-buildx").symlink_to(found[0])


@contextlib.contextmanager
def _data(otherwise: Path) -> Iterator[Path]:
    """The data folder that is kept, with what was built before; if another has it, a new one."""
    kept = cache() / "engine"
    kept.mkdir(parents=True, exist_ok=True)
    with (cache() / "engine.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield otherwise
            return
        yield kept


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """Start an engine with a base image in it.

    Raises :class:`Missing` where this machine cannot.
    """
    program = _program(*_DOCKERD)
    _program("docker")
    if os.getuid() != 0:
        raise Missing("dockerd needs root")
    tar = _base_files()
    python = subprocess.run(
        ["tar", "-tf", str(tar), "--wildcards", "./usr/bin/python3.*"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    version = max(re.findall(r"python(3\.\d+)$", python.stdout, re.MULTILINE))
    base = f"python:{version}-slim"
    # A socket's path is short.
    temporary = tempfile.TemporaryDirectory(
        prefix="engine-", dir="/tmp", ignore_cleanup_errors=True
    )
    with temporary as name, _data(Path(name) / "data") as data:
        folder = Path(name)
        _buildx(folder / "config")
        made = Engine(socket=folder / "docker.sock", config=folder / "config", base=base)
        words = [
            program,
            *("--host", f"unix://{made.socket}"),
            *("--data-root", str(data)),
            *("--exec-root", str(folder / "exec")),
            *("--pidfile", str(folder / "pid")),
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
        ]
        log = folder / "log"
        with running(words, log, start_new_session=True) as process:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            ask = ["docker", "--host", f"unix://{made.socket}", "info"]
            _wait(process, log, lambda: subprocess.run(ask, check=False, **quiet).returncode == 0)
            if not made.docker("image", "ls", "--quiet", base).stdout.strip():
                with tar.open("rb") as content:
                    made.docker("import", "-", base, stdin=content)
            yield made


def _run(words: list[str]) -> int:
    """Run a command with an engine; give its exit code, or 3 where there is no engine."""
    with contextlib.ExitStack() as stack:
        variables: dict[str, str] = {}
        asked = [_program("docker"), "info"]
        if subprocess.run(asked, capture_output=True, check=False).returncode:
            started = stack.enter_context(engine())
            variables = {**started.variables, "DEMO_BASE": started.base}
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="registry-"))
        host = stack.enter_context(registry(Path(folder) / "images"))
        environment = {**os.environ, **variables, "DEMO_REGISTRY": host}
        return subprocess.run(words, env=environment, check=False).returncode


def _keep_running() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with engine() as started:
        for key, value in started.variables.items():
            sys.stdout.write(f"export {key}={value}\n")
        sys.stdout.write(f"# base image: {started.base}; ends with this process\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    try:
        sys.exit(_run(sys.argv[1:]) if sys.argv[1:] else _keep_running())
    except (Missing, RuntimeError) as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(3)
