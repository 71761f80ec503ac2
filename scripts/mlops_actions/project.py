"""The project environment: the user's own, where all of the user's code runs, and nothing of ours.

User code gets an allow-listed set of environment variables: no token of the job is among them.
"""

from __future__ import annotations

import collections
import configparser
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlops_actions import github, uv
from mlops_actions.config import Project
from mlops_actions.errors import ConfigurationError, Failure

RUNNER = Path(__file__).with_name("runner.py")
_RUNNER_WRONG = 3
_UV_TIMEOUT = 3600  # Seconds for one call.
_UV_LINES = 200  # Kept of what uv says.
_STOP_GRACE = 10  # Seconds between the polite signal and the other one.

_ALLOWED = {
    "CI", "COLUMNS", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "GITHUB_ACTIONS", "GITHUB_ACTOR",
    "GITHUB_BASE_REF", "GITHUB_EVENT_NAME", "GITHUB_HEAD_REF", "GITHUB_JOB", "GITHUB_REF",
    "GITHUB_REF_NAME", "GITHUB_REPOSITORY", "GITHUB_RUN_ATTEMPT", "GITHUB_RUN_ID",
    "GITHUB_SERVER_URL", "GITHUB_SHA", "GITHUB_WORKFLOW", "GITHUB_WORKSPACE", "HOME",
    "HTTPS_PROXY", "HTTP_PROXY", "LANG", "LANGUAGE", "LOGNAME", "NODE_EXTRA_CA_CERTS", "NO_PROXY",
    "NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "PATH", "PIP_CERT", "REQUESTS_CA_BUNDLE",
    "RUNNER_ARCH", "RUNNER_OS", "RUNNER_TEMP", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE", "TERM",
    "TMPDIR", "TZ", "USER", "UV_CACHE_DIR", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "XDG_CACHE_HOME",
    "http_proxy", "https_proxy", "no_proxy",
}  # fmt: skip
_OURS = ("ACTIONS_", "GITHUB_", "RUNNER_", "INPUT_", "MLOPS_")
_SHELL = ";&|<>"  # Unquoted, they mean something to a shell, and nothing to a program.


def tool_cache() -> Path:
    """Where a machine keeps tools between jobs: the runner's folder, else the user's cache.

    ``scripts/mlops-actions`` keeps our own environment by the same rule.
    """
    base = os.environ.get("RUNNER_TOOL_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return Path(base) if base else Path.home() / ".cache"


def cache_folder() -> Path:
    """Where environments are kept between jobs of one machine."""
    return tool_cache() / "mlops-actions"


def _users_variables() -> dict[str, str]:
    """Read the secret ENV: lines ``KEY=VALUE``, each value masked before anything else happens."""
    variables: dict[str, str] = {}
    short: list[str] = []
    for number, line in enumerate(os.environ.get("MLOPS_ENV", "").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, separator, value = line.partition("=")
        key = key.strip()
        masked = github.mask(value)
        if not separator or not key.isidentifier():
            raise ConfigurationError(f"The secret ENV: line {number} is not KEY=VALUE.")
        if key.startswith(_OURS) or key == "MLFLOW_TRACKING_URI":
            raise ConfigurationError(f"The secret ENV: line {number}: {key} is set by us.")
        variables[key] = value
        if value.strip() and not masked:
            short.append(key)
    if short:
        _say_unmasked(", ".join(short))
    return variables


@functools.cache  # Once in a command, not with every process of the user's.
def _say_unmasked(names: str) -> None:
    github.annotate(
        "notice",
        f"The secret ENV: not masked, being shorter than {github.SHORTEST_MASKED} characters: "
        f"{names}. GitHub drops each output of a job in which a masked value occurs, and so short "
        "a value occurs in many.",
    )


def _passed_on() -> dict[str, str]:
    """Give our variables that user code may see, and those of the secret ENV."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name in _ALLOWED or name.startswith("LC_")
    }
    return ours | _users_variables()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Environment:
    """An environment that is ready."""

    folder: Path
    digest: str  # SHA-256 of the lock file, hexadecimal.
    python_version: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def variables(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables that user code gets."""
        chosen = _passed_on()
        chosen |= {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{chosen.get('PATH', os.defpath)}",
            "VIRTUAL_ENV": str(self.folder),
            "PYTHONUNBUFFERED": "1",
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_DISABLE_AGENT_HINTS": "true",
        }
        return chosen | dict(extra or {})


def _run_uv(arguments: Sequence[str], *, cwd: Path, extra: Mapping[str, str]) -> None:
    variables = _passed_on() | dict(extra)
    said: collections.deque[str] = collections.deque(maxlen=_UV_LINES)
    title = f"The project environment: uv {arguments[0]}"
    # A package may run code of its own while it is built.
    with github.group(title), github.untrusted_output():
        process = subprocess.Popen(
            [str(uv.path()), *arguments],
            cwd=cwd,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        reader = threading.Thread(target=_show, args=(process, said), daemon=True)
        reader.start()
        with _ended_with_us(process):
            try:
                code = process.wait(_UV_TIMEOUT)
            except subprocess.TimeoutExpired:
                raise Failure(
                    f"{title} was stopped after its time limit of {_UV_TIMEOUT} s."
                ) from None
        reader.join(_STOP_GRACE)
    if code:
        words = "".join(said).strip()[-3000:]
        raise Failure(f"The project environment cannot be made: uv {arguments[0]} said:\n{words}")


def _show(process: subprocess.Popen[str], said: collections.deque[str]) -> None:
    """Print what a process says as it says it, and keep the end of it."""
    for line in process.stdout or ():
        said.append(line)
        sys.stderr.write(line)
        sys.stderr.flush()


def _python_version(python: Path) -> str:
    # pyvenv.cfg knows; starting an interpreter to ask costs more.
    for line in (python.parents[1] / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key.strip() in {"version_info", "version"}:
            return value.strip()
    return "unknown"


def prepare(project: Project) -> Environment:
    """Make the project environment from ``uv.lock``, else from ``requirements.txt``.

    Raises :class:`ConfigurationError` when there is neither, :class:`Failure` with uv's words when
    the lock is out of date or a package cannot be had.
    """
    folder = project.folder.resolve()
    lock, requirements = folder / "uv.lock", folder / "requirements.txt"
    if lock.is_file():
        described = folder / "pyproject.toml"
        if not described.is_file():
            raise ConfigurationError("uv.lock needs pyproject.toml beside it.", file=lock)
        content = lock.read_bytes() + described.read_bytes()
        if b"[build-system]" in content:
            # The environment names the folder of an installed project.
            content += str(folder).encode()
        target = cache_folder() / f"project-{hashlib.sha256(content).hexdigest()[:16]}"
        _run_uv(
            ["sync", "--locked"],
            cwd=folder,
            extra={"UV_PROJECT_ENVIRONMENT": str(target)},
        )
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    elif requirements.is_file():
        digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
        target = _environment_of(requirements, digest, folder)
    else:
        above = next((path for path in folder.parents if (path / "uv.lock").is_file()), None)
        workspace = f" That of a workspace, in {above}, does not count." if above else ""
        raise ConfigurationError(
            "The project has neither uv.lock nor requirements.txt beside mlops.yaml: there is no "
            f"environment to run its code in.{workspace}",
            file=project.file,
        )
    return Environment(
        folder=target, digest=digest, python_version=_python_version(target / "bin" / "python")
    )


def _environment_of(
    requirements: Path, digest: str, cwd: Path, *more: str, python: str | None = None
) -> Path:
    name = hashlib.sha256(f"{digest} {python} {' '.join(more)}".encode()).hexdigest()[:16]
    target = cache_folder() / f"requirements-{name}"
    if not (target / "complete").exists():
        chosen = ["--python", python] if python else []
        _run_uv(["venv", "--quiet", "--clear", *chosen, str(target)], cwd=cwd, extra={})
        _run_uv(
            ["pip", "install", "--python", str(target / "bin" / "python"),
             "-r", str(requirements), *more],
            cwd=cwd,
            extra={},
        )  # fmt: skip
        (target / "complete").touch()
    return target


def prepare_for_model(model: Path, project: Project, environment: Environment) -> Environment:
    """Give an environment that satisfies a model's own requirements.

    The project's serves when the model's pins are all met by it; else one is made from the
    ``requirements.txt`` beside the model.
    """
    requirements = model / "requirements.txt"
    if not requirements.is_file() or _satisfied(requirements, environment):
        return environment
    github.info("The champion's requirements differ from the project's: it gets its own.")
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    version = ".".join(environment.python_version.split(".")[:2])
    described = model / "python_env.yaml"
    if described.is_file():
        for line in described.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "python":
                version = ".".join(value.strip().strip("'\"").split(".")[:2])
    target = _environment_of(
        requirements, digest, project.folder, "pandas", "pyarrow", python=version
    )
    return Environment(
        folder=target, digest=digest, python_version=_python_version(target / "bin" / "python")
    )


def _satisfied(requirements: Path, environment: Environment) -> bool:
    installed = {}
    for found in (environment.folder / "lib").glob("python*/site-packages/*.dist-info"):
        name, _, version = found.name.removesuffix(".dist-info").rpartition("-")
        installed[name.lower().replace("_", "-").replace(".", "-")] = version
    for line in requirements.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name, separator, version = text.partition("==")
        plain = name.split("[")[0].strip().lower().replace("_", "-").replace(".", "-")
        if not separator or installed.get(plain) != version.strip():
            return False
    return True


def split_command(command: str) -> list[str]:
    """Split a command into words; it runs without a shell.

    Raises :class:`ConfigurationError` when it was written for one.
    """
    lexer = shlex.shlex(command, posix=True, punctuation_chars=_SHELL)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = shlex.split(command)
        stray = next((word for word in lexer if word and set(word) <= set(_SHELL)), None)
    except ValueError as problem:
        raise ConfigurationError(f"The command {command!r} cannot be read: {problem}.") from None
    if stray or not words:
        raise ConfigurationError(
            f"The command {command!r} is run without a shell, which {stray or 'nothing'} needs. "
            "Quote it, or put the command into a script or a stage of dvc.yaml."
        )
    return words


class CommandFailed(Failure):
    """A command of the user's failed, was killed, or took too long."""


def run_command(
    environment: Environment,
    command: str | Sequence[str],
    *,
    cwd: Path,
    label: str,
    timeout: float | None = None,
    variables: Mapping[str, str] | None = None,
) -> float:
    """Run a command of the user's with live output; give its seconds.

    Raises :class:`CommandFailed` with the exit code, the signal, or the time limit (seconds).
    Everything it started is ended with it.
    """
    words = split_command(command) if isinstance(command, str) else list(command)
    shown = shlex.join(words)
    started = time.monotonic()
    github.info(f"{label}: {shown}")
    given = environment.variables(variables)  # Masks secrets: a command, so before they are off.
    with github.untrusted_output():
        try:
            process = subprocess.Popen(
                words,
                cwd=cwd,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise CommandFailed(
                f"{label}: {words[0]} is not a program of the project environment."
            ) from None
        except OSError as problem:
            raise CommandFailed(f"{label}: {words[0]} cannot be run: {problem.strerror}.") from None
        with _ended_with_us(process):
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise CommandFailed(
                    f"{label}: {shown} was stopped after its time limit of {timeout:.0f} s."
                ) from None
    seconds = time.monotonic() - started
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (the machine may be out of memory)" if name == "SIGKILL" else ""
        raise CommandFailed(f"{label}: {shown} was killed by {name}{hint}.")
    if code:
        raise CommandFailed(f"{label}: {shown} failed with exit code {code}.")
    github.info(f"{label}: done in {seconds:.1f} s")
    return seconds


def _signal(process: subprocess.Popen[Any], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def end(process: subprocess.Popen[Any]) -> None:
    """End a process that leads a session, and everything that it started."""
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_GRACE)
    _signal(process, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _ended_with_us(process: subprocess.Popen[Any]) -> Iterator[None]:
    def interrupted(number: int, _frame: object) -> None:
        _signal(process, number)
        raise KeyboardInterrupt

    # A cancelled job sends SIGINT, then SIGTERM: the user's processes must not outlive it.
    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        end(process)


class Runner:
    """A process of ``runner.py`` that has imported what it needs and waits for its request.

    It may be started while a command of the user's still works: importing MLflow takes seconds.
    What it prints is shown when it has answered, unless it is to be ``live``.
    """

    def __init__(
        self,
        environment: Environment,
        command: str,
        *,
        cwd: Path,
        variables: Mapping[str, str],
        live: bool = False,
    ) -> None:
        self._command = command
        self._process = subprocess.Popen(
            [str(environment.python), str(RUNNER), command],
            cwd=cwd,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=sys.stderr if live else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def end(self) -> None:
        """End it, asked or not."""
        end(self._process)

    def ask(self, *, timeout: float | None = None, **request: object) -> None:
        """Send the one request and wait for the end.

        Raises :class:`Failure` with the runner's last line when something is wrong, or when it
        takes more than ``timeout`` seconds.
        """
        command, process = self._command, self._process
        with _ended_with_us(process):
            try:
                printed, errors = process.communicate(f"{json.dumps(request)}\n", timeout=timeout)
            except subprocess.TimeoutExpired:
                raise Failure(
                    f"{command} was stopped after its time limit of {timeout:.0f} s."
                ) from None
        lines = errors.strip().splitlines()
        for line in (printed or "").splitlines():
            github.info(line)
        if process.returncode == 0:
            return
        if process.returncode == _RUNNER_WRONG and lines:
            for line in lines[:-1]:
                github.info(line)
            raise Failure(lines[-1])
        tail = "\n".join(lines[-20:])
        raise Failure(
            f"{command} ended with code {process.returncode} in the project environment:\n{tail}"
        )


def ask_runner(
    environment: Environment,
    command: str,
    *,
    cwd: Path,
    timeout: float | None = None,
    **request: object,
) -> None:
    """Run a command of ``runner.py`` in an environment, with live output.

    Raises as :meth:`Runner.ask` does.
    """
    given = environment.variables()  # Masks secrets: a command, so before they are off.
    with github.untrusted_output():
        runner = Runner(environment, command, cwd=cwd, variables=given, live=True)
        try:
            runner.ask(timeout=timeout, **request)
        finally:
            runner.end()


def model_request(project: Project, model: Path) -> dict[str, object]:
    """What the runner needs to know of a model and of how the project predicts with it."""
    settings = project.config
    return {
        "model": str(model.resolve()),
        "id": settings.id,
        "labels": settings.labels,
        "function": settings.score,
        "not_features": [n for n in (settings.id, settings.target, settings.weight) if n],
    }


def dvc_remote(folder: Path) -> str | None:
    """Name a DVC remote of the project, or ``None`` where none is configured."""
    for directory in (folder, *folder.resolve().parents):
        if (directory / ".dvc").is_dir():
            parser = configparser.ConfigParser()
            parser.read([directory / ".dvc" / "config", directory / ".dvc" / "config.local"])
            for section in parser.sections():
                name = section.strip("'")
                if name.startswith("remote "):
                    return name.removeprefix("remote ").strip('"')
            return None
        if (directory / ".git").exists():
            return None
    return None


def pull_data(project: Project, environment: Environment) -> None:
    """Fetch what DVC keeps in a remote, where the project has one.

    What a stage makes may be missing there; what only a remote has, tracked by a ``.dvc`` file, may
    not. DVC itself calls a file missing when the remote answers 401, so we look.
    """
    remote = dvc_remote(project.folder)
    if remote is None or not project.config.train.dvc_pull:
        return
    command = ["dvc", "pull", "--allow-missing"]
    problem = ""
    try:
        run_command(environment, command, cwd=project.folder, label="Pull", timeout=3600)
    except CommandFailed as failed:
        problem = failed.message
    missing = [path for path in _tracked_by_dvc(project.folder) if not path.exists()]
    if missing and not problem:
        problem = f"{missing[0].relative_to(project.folder)} is missing after dvc pull."
    if problem:
        raise Failure(
            f"The DVC remote {remote!r} gave no data: {problem} Check its credentials: the "
            "secret ENV hands KEY=VALUE lines to the command."
        )


def _tracked_by_dvc(folder: Path) -> list[Path]:
    """Give the files that ``.dvc`` files below ``folder`` stand for."""
    found = []
    for path in sorted(folder.rglob("*.dvc")):
        if not path.is_file() or ".dvc" in path.relative_to(folder).parts[:-1]:
            continue
        try:
            outs = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["outs"]
            found += [path.parent / out["path"] for out in outs]
        except (YAMLError, OSError, KeyError, TypeError):
            raise Failure("This is not a file of DVC's.", file=path) from None
    return found


def run_data_command(project: Project, environment: Environment, timeout: float) -> None:
    """Run ``data.command``, which makes the files that ``mlops.yaml`` names."""
    if project.config.data.command is not None:
        run_command(
            environment,
            project.config.data.command,
            cwd=project.folder,
            label="Data",
            timeout=timeout,
        )
