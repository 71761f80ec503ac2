"""Where uv is: every environment is made by it, and it is copied into the image's first stage."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from mlops_actions.errors import ConfigurationError

_BUNDLED = Path(__file__).resolve().parents[2] / ".tools" / "bin" / "uv"  # By tools/bootstrap.


def find() -> Path | None:
    """Give uv's real path, or ``None`` where it is not installed.

    Under pyenv, ``uv`` on PATH is a script that finds nothing in a folder with another
    ``.python-version``, as a consumer's may be: what it stands for elsewhere is not.
    """
    if _BUNDLED.exists():
        return _BUNDLED.resolve()
    found = shutil.which("uv")
    if found is None:
        return None
    with Path(found).open("rb") as file:
        is_script = file.read(2) == b"#!"
    if is_script and shutil.which("pyenv"):
        asked = subprocess.run(
            ["pyenv", "which", "uv"], cwd=os.sep, capture_output=True, text=True, check=False
        )
        found = asked.stdout.strip() or found
    return Path(found).resolve()


def path() -> Path:
    """Give uv's real path; raise :class:`ConfigurationError` where it is not installed."""
    found = find()
    if found is None:
        raise ConfigurationError("uv is not installed; add the step astral-sh/setup-uv.")
    return found
