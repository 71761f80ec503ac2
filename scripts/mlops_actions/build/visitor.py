"""Runs inside the container, beside the server: asks it, and measures.

Its text is handed to the container's own Python; a container without a network can be asked in no
other way. Reads a JSON object from standard input and writes one to standard output.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

_COMPILERS = ("cc", "gcc", "g++", "clang", "make", "uv")


def ask(method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Send one request; give its status and what it answered."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read().decode("utf-8", "replace")
    finally:
        connection.close()
    try:
        return answer.status, json.loads(content)
    except ValueError:
        return answer.status, content[:2000]


def ready(seconds: float) -> bool:
    """Wait until the server is ready."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if ask("GET", "/ready")[0] == http.client.OK:
                return True
        except OSError:
            pass
        time.sleep(0.1)
    return False


def writable() -> list[str]:
    """Folders of the root file system that could be written."""
    found = []
    for folder in ("/", "/opt", "/opt/model", "/opt/venv", "/tmp", "/home", "/var/tmp"):  # noqa: S108
        path = Path(folder, ".mlops-probe")
        try:
            path.touch()
            path.unlink()
            found.append(folder)
        except OSError:
            pass
    return found


def model_digest() -> str:
    """The digest of the model's files, made as the evidence makes it."""
    folder = Path(os.environ.get("MLOPS_MODEL") or "/opt/model")
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def visit(request: dict[str, Any]) -> dict[str, Any]:
    """Ask everything that is to be known."""
    if not ready(request["ready_within"]):
        return {"ready": False}
    found: dict[str, Any] = {"ready": True, "ready_at": time.time()}
    found["pages"] = {
        path: list(ask("GET", path)) for path in ("/health", "/ready", "/version", "/metrics")
    }
    found["answers"] = [list(ask("POST", "/predict", body)) for body in request["bodies"]]
    found["nonsense"] = list(ask("POST", "/predict", {"records": "none"}))
    found["user"] = os.getuid()
    found["writable"] = writable()
    found["model_digest"] = model_digest()
    found["compilers"] = [name for name in _COMPILERS if shutil.which(name)]
    rows = request["bodies"][1:] or request["bodies"]
    milliseconds = []
    for number in range(request["warm_up"] + request["requests"] if rows else 0):
        started = time.perf_counter()
        status, _ = ask("POST", "/predict", rows[number % len(rows)])
        if number >= request["warm_up"] and status == http.client.OK:
            milliseconds.append((time.perf_counter() - started) * 1000)
    found["milliseconds"] = milliseconds
    return found


if __name__ == "__main__":
    REQUEST = json.load(sys.stdin)
    PORT = REQUEST["port"]
    json.dump(visit(REQUEST), sys.stdout)
