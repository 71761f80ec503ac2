"""A model's requirements, resolved to a lock with hashes by uv."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from pathlib import Path

from mlops_actions import github, uv
from mlops_actions.errors import Failure

SERVING = Path(__file__).resolve().parents[1] / "serving" / "requirements.txt"
# Flavours whose loaders work with the client alone; the whole of mlflow brings a server.
_SKINNY = {"sklearn", "xgboost", "lightgbm", "catboost", "statsmodels"}
_PLAIN = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w., -]+\])?\s*([=<>!~;][^\\]*)?")
_MLFLOW = re.compile(r"mlflow(?=\s*([=<>!~;]|$))")
_PLATFORMS = {"x86_64": "x86_64-manylinux_2_28", "aarch64": "aarch64-manylinux_2_28"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Index:
    """Where packages come from, and whom to trust on the way."""

    url: str | None = None
    certificate: Path | None = None

    def variables(self) -> dict[str, str]:
        """What uv reads."""
        chosen = {}
        if self.url:
            chosen["UV_DEFAULT_INDEX"] = self.url
        if self.certificate:
            chosen["SSL_CERT_FILE"] = str(self.certificate)
        return chosen


def wanted(model: Path, flavours: set[str]) -> tuple[list[str], list[str]]:
    """The model's requirements with mlflow as small as it may be, and what was replaced."""
    path = model / "requirements.txt"
    if not path.is_file():
        raise Failure("The model was logged without requirements.", file=path)
    lines, replaced = [], []
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = raw.partition(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        if not _PLAIN.fullmatch(line):
            raise Failure(
                f"{line!r} cannot be locked with a hash. Log the model with packages of an index "
                "(the secret INDEX_URL may name a private one), or set build.dockerfile.",
                file=path,
            )
        if flavours & _SKINNY and _MLFLOW.match(line):
            replaced.append(line)
            line = _MLFLOW.sub("mlflow-skinny", line)
        lines.append(line)
    return lines, replaced


def lock(lines: list[str], output: Path, *, python: str, machine: str, index: Index) -> None:
    """Write ``requirements.lock``: each package's version and hashes, wheels only.

    ``python`` is such as 3.11, ``machine`` such as x86_64. Raises :class:`Failure` with uv's words.
    """
    source = output.with_suffix(".in")
    text = "\n".join(lines) + "\n" + SERVING.read_text(encoding="utf-8")
    source.write_text(text, encoding="utf-8")
    keep = re.compile(
        r"PATH|HOME|TMPDIR|(?i:\w*_proxy)|SSL_CERT_(FILE|DIR)|UV_(CACHE_DIR|NATIVE_TLS|SYSTEM_CERTS)"
    )
    variables = {name: value for name, value in os.environ.items() if keep.fullmatch(name)}
    words = [
        str(uv.path()), "pip", "compile", "--quiet", "--no-config", "--generate-hashes",
        "--no-header", "--no-annotate", "--no-build",
        "--python-version", python, "--python-platform", _PLATFORMS.get(machine, machine),
        "--output-file", str(output), str(source),
    ]  # fmt: skip
    answer = subprocess.run(
        words, env=variables | index.variables(), cwd=output.parent, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if answer.returncode:
        said = answer.stderr.strip()[-2000:]
        if index.url:
            said = said.replace(index.url, "the private index")
        raise Failure(
            f"The model's requirements cannot be locked for Python {python}; uv said:\n{said}\n"
            "Packages without a wheel need a compiler, which this image never has: set "
            "build.dockerfile."
        )
    count = len(re.findall(r"^[\w.-]+(?:\[[^]]*\])?==", output.read_text("utf-8"), re.MULTILINE))
    github.info(f"Locked {count} packages with their hashes")
