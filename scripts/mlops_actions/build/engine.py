"""The Docker engine and crane: build an image, look at one, fix a base to its digest."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from mlops_actions import github
from mlops_actions.build.context import Context
from mlops_actions.build.requirements import Index
from mlops_actions.errors import ConfigurationError, Failure

_ROOT = Path(__file__).resolve().parents[3]


def docker(*words: str, check: bool = True, timeout: float | None = None) -> str:
    """Run the client; give its standard output. :class:`Failure` says what it said."""
    try:
        answer = subprocess.run(
            ["docker", *words], capture_output=True, text=True, check=False, timeout=timeout
        )
    except FileNotFoundError:
        raise ConfigurationError("Docker is not installed on this runner.") from None
    if check and answer.returncode:
        raise Failure(f"docker {words[0]} failed: {answer.stderr.strip()[-2000:]}")
    return answer.stdout.strip()


def crane(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run crane, in the version that tools/go.mod locks."""
    answer = subprocess.run([_crane(), *words], capture_output=True, text=True, check=False)
    if check and answer.returncode:
        raise Failure(f"crane {words[0]} failed: {answer.stderr.strip()[-2000:]}")
    return answer


def _crane() -> str:
    named = os.environ.get("MLOPS_CRANE")
    if named:
        return named
    go = shutil.which("go")
    if go and (_ROOT / "tools" / "go.mod").is_file():
        # Compiled once, from sources that go.sum holds to their digests.
        built = subprocess.run(
            [go, "tool", "-n", "crane"], cwd=_ROOT / "tools", capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if built.returncode == 0:
            return built.stdout.strip()
    found = shutil.which("crane")
    if found is None:
        raise ConfigurationError("crane is not installed, nor Go (actions/setup-go) to build it.")
    return found


def inspect(reference: str) -> dict[str, Any] | None:
    """What the engine knows about an image, or ``None``."""
    text = docker("image", "inspect", reference, check=False)
    found: list[dict[str, Any]] = json.loads(text or "[]")
    return found[0] if found else None


def resolve_base(reference: str) -> str:
    """Fix a base image to its digest.

    An image that only this engine has (it was imported, or built here) stays as it is.
    """
    if "@" in reference:
        return reference
    short = reference.removeprefix("docker.io/library/")
    known = inspect(reference)
    if known is not None and not known.get("RepoDigests"):
        github.warning(f"The base image {short} is this machine's own: it has no digest.")
        return short
    answer = crane("digest", reference, check=False)
    digest = answer.stdout.strip()
    if answer.returncode or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise Failure(
            f"The base image {short} is out of reach: {answer.stderr.strip()[-500:]} "
            "Name another one with build.base."
        )
    github.info(f"Base image: {short}, today {digest}; build.base can fix it")
    return f"{reference}@{digest}"


def build(context: Context, tag: str, index: Index) -> None:
    """Build the image and name it ``tag`` in the engine.

    The index and the certificate are secrets of the build: no layer has them.
    """
    networks = docker("network", "ls", "--format", "{{.Name}}").split()
    words = [
        "buildx", "build", "--load", "--progress", "plain", "--provenance=false",
        "--tag", tag,
        "--build-arg", f"SOURCE_DATE_EPOCH={context.epoch}",
        "--network", "default" if "bridge" in networks else "host",
    ]  # fmt: skip
    if context.base:  # Which a Dockerfile of the user's own takes with ARG BASE.
        words += ["--build-arg", f"BASE={context.base}"]
    for key, value in sorted(context.labels.items()):
        words += ["--label", f"{key}={value}"]
    with tempfile.TemporaryDirectory(prefix="mlops-secrets-") as folder:
        if index.certificate:
            words += ["--secret", f"id=ca,src={index.certificate}"]
        if index.url:
            settings = Path(folder) / "uv.toml"
            settings.write_text(f"[[index]]\nurl = {json.dumps(index.url)}\ndefault = true\n")
            settings.chmod(0o600)
            words += ["--secret", f"id=uv,src={settings}"]
        variables = os.environ | {
            "DOCKER_BUILDKIT": "1",
            "SOURCE_DATE_EPOCH": str(context.epoch),
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        }
        started = time.monotonic()
        with github.group("Building the image"):
            process = subprocess.Popen(
                ["docker", *words, str(context.folder)],
                env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="replace",
            )  # fmt: skip
            last: list[str] = []
            for line in process.stdout or ():
                github.info(line.rstrip())
                last = [*last[-30:], line.rstrip()]
            code = process.wait()
    if code:
        raise Failure("The image cannot be built:\n" + "\n".join(last))
    github.info(f"Built in {time.monotonic() - started:.1f} s")
