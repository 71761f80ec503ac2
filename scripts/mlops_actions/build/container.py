"""Start the image as it would run, visit it, and say what was seen."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_actions import github
from mlops_actions.build.engine import docker
from mlops_actions.errors import Failure

_VISITOR = Path(__file__).with_name("visitor.py")
_PORT = 8080
_WARM_UP = 10  # Requests that are not measured.
_GRACE = 60  # Seconds beyond what is allowed until ready: the requests themselves.
_ROOT_USERS = {"", "0", "root", "0:0", "root:root"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Visit:
    """What a container showed."""

    ready: bool
    seconds: float  # From its start until it was ready.
    found: dict[str, Any]
    log: str


@contextlib.contextmanager
def started(image: str) -> Iterator[str]:
    """A container with a read-only root, no network, no rights and no writable folder."""
    name = f"mlops-{secrets.token_hex(6)}"
    docker(
        "run", "--detach", "--name", name, "--pull=never",
        "--read-only", "--network", "none", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--pids-limit", "512",
        image,
    )  # fmt: skip
    try:
        yield name
    finally:
        docker("rm", "--force", "--volumes", name, check=False)


def visit(image: str, bodies: list[dict[str, Any]], *, ready_within: float, requests: int) -> Visit:
    """Run the image and ask it: ``bodies`` once, then the single rows ``requests`` times."""
    request = {
        "port": _PORT,
        "ready_within": ready_within,
        "bodies": bodies,
        "requests": requests,
        "warm_up": _WARM_UP,
    }
    begun = time.time()
    with started(image) as name:
        found, said = _ask(name, request, ready_within + _GRACE + requests)
        log = docker("logs", "--tail", "30", name, check=False)
        if not found.get("ready"):
            state = docker("inspect", "--format", "{{.State.Status}}", name, check=False)
            github.info(f"The container is {state}; its last words:\n{log}\n{said}")
    at = found.get("ready_at")
    seconds = at - begun if isinstance(at, (int, float)) else time.time() - begun
    return Visit(ready=bool(found.get("ready")), seconds=seconds, found=found, log=log)


def _ask(name: str, request: dict[str, Any], timeout: float) -> tuple[dict[str, Any], str]:
    program = _VISITOR.read_text(encoding="utf-8")
    try:
        answer = subprocess.run(
            ["docker", "exec", "--interactive", name, "python", "-S", "-c", program],
            input=json.dumps(request), capture_output=True, text=True, check=False,
            timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {}, f"it did not answer within {timeout:.0f} s"
    try:
        found = json.loads(answer.stdout)
    except ValueError:
        return {}, answer.stderr.strip()[-1000:]
    if not isinstance(found, dict):
        raise Failure("The container answered with something else than its findings.")
    return found, answer.stderr.strip()[-1000:]


def runs_as_root(settings: dict[str, Any]) -> bool:
    """Whether an image's configuration names no user, or root."""
    return str(settings.get("User") or "") in _ROOT_USERS
