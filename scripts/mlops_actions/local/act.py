"""Find act, and start it with an environment like a hosted runner's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

from mlops_actions import github
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.local.wiring import CHECKOUT

_SHIMS = Path(__file__).resolve().parent / "shims"
_MODULE = CHECKOUT / "tools" / "go.mod"
# What a step may see of this machine: where things are, and how it reaches the network. Not the
# user's credentials, which a runner would not have, and not our own Python's settings.
_KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TERM|TZ|TMPDIR|XDG_\w+|DEBIAN_FRONTEND"
    r"|(?i:\w*_proxy)|\w*(?:CERT|CA_BUNDLE|CAINFO|ROOTS_FILE|CA_FILE)\w*"
    r"|PIP_\w+|PYENV_ROOT|UV_CACHE_DIR|UV_PYTHON_INSTALL_DIR|GO\w+|DOCKER_\w+"
)


def find() -> list[str]:
    """Give the command that starts act.

    In this order: what ``MLOPS_ACT`` names, the version this project locks (through Go), and
    ``act`` on PATH.

    Raises:
        ConfigurationError: ``MLOPS_ACT`` names nothing that can be run.
        Failure: there is none.

    """
    named = os.environ.get("MLOPS_ACT")
    if named:
        found = shutil.which(named)
        if not found:
            raise ConfigurationError(f"MLOPS_ACT={named} is not a program.")
        return [found]
    go = shutil.which("go")
    said = ""
    if go and _MODULE.is_file():
        wait = threading.Timer(2, github.info, ["building act (a minute, the first time)"])
        wait.start()
        built = subprocess.run(
            [go, "tool", "-modfile", str(_MODULE), "-n", "act"],
            cwd=_MODULE.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        wait.cancel()
        if built.returncode == 0 and Path(built.stdout.strip()).is_file():
            return [built.stdout.strip()]
        said = f" Go could not build it: {built.stderr.strip()}"
    found = shutil.which("act")
    if found:
        return [found]
    raise Failure(
        "act, which runs workflows on this machine, was not found: install Go (tools/go.mod locks "
        f"a version of act), or act itself, or set MLOPS_ACT to its path.{said}"
    )


def environment() -> dict[str, str]:
    """Give the variables act starts with, and with it every step."""
    kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    kept["PATH"] = f"{_SHIMS}{os.pathsep}{kept.get('PATH', os.defpath)}"
    for name in ("NO_PROXY", "no_proxy"):  # GitHub's double is on loopback.
        if any(proxy in kept for proxy in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")):
            kept[name] = ",".join(filter(None, [kept.get(name), "127.0.0.1", "localhost"]))
    return kept
