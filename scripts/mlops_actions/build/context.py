"""The build context: everything the image is made from, in one folder."""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import jinja2
from ruamel.yaml import YAML

from mlops_actions import __version__, config, evidence, github, uv
from mlops_actions.build import requirements
from mlops_actions.build.blessed import Blessed
from mlops_actions.errors import Failure

_PACKAGE = Path(__file__).resolve().parents[1]
_SETTLED = 315_532_800  # 1980-01-01, the first day that zip archives know: a file's time in layers.
LABELS = "io.github.mlops-actions"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """A context that is written."""

    folder: Path
    base: str | None
    epoch: int  # SOURCE_DATE_EPOCH: seconds since 1970.
    labels: dict[str, str]

    @property
    def dockerfile(self) -> Path:
        """The Dockerfile in it."""
        return self.folder / "Dockerfile"

    @property
    def lock(self) -> Path:
        """The locked requirements in it."""
        return self.folder / "requirements.lock"


def described(model: Path) -> dict[str, Any]:
    """Read the model's MLmodel file."""
    path = model / "MLmodel"
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except Exception as problem:  # noqa: BLE001 - any YAML error of any parser.
        raise Failure(f"Not a model of MLflow's: {problem}", file=path) from None
    if not isinstance(document, dict) or "python_function" not in (document.get("flavors") or {}):
        raise Failure("The model has no python_function flavour.", file=path)
    return document


def python_of(document: dict[str, Any]) -> str:
    """The Python that the model was logged with, such as 3.11."""
    full = str(document["flavors"]["python_function"].get("python_version") or "")
    parts = full.split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts[:2]):  # noqa: PLR2004
        raise Failure("The model does not say which Python it was logged with.")
    return ".".join(parts[:2])


def default_base(python: str) -> str:
    """The base image for a Python, when mlops.yaml names none."""
    return f"docker.io/library/python:{python}-slim-trixie"


def write(
    loaded: config.Project,
    blessed: Blessed,
    work: Path,
    *,
    base: str | None,
    index: requirements.Index,
) -> Context:
    """Write the context for ``work/model`` into ``work/context``; ``base`` is what FROM names.

    Without a base, the user's own Dockerfile names it.
    """
    folder = work / "context"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    document = described(work / "model")
    python = python_of(document)
    lines, replaced = requirements.wanted(work / "model", set(document["flavors"]))
    for line in replaced:
        github.info(f"{line}: its client, mlflow-skinny, is enough for this model")
    where = {"python": python, "machine": platform.machine(), "index": index}
    target = folder / "requirements.lock"
    try:
        requirements.lock(lines, target, **where)  # type: ignore[arg-type]
    except Failure:
        if not replaced:
            raise
        github.info("There is no mlflow-skinny of that version: the whole of mlflow it is")
        lines, _ = requirements.wanted(work / "model", set())
        requirements.lock(lines, target, **where)  # type: ignore[arg-type]
    target.with_suffix(".in").unlink()
    _copy_server(folder / "serving")
    shutil.copytree(work / "model", folder / "model")
    about = {
        "name": blessed.name,
        "version": blessed.version,
        "run_id": blessed.run_id,
        "commit": blessed.commit,
        "model_digest": blessed.model_digest,
        "evidence_digest": blessed.evidence_digest,
    }
    evidence.write_json(folder / "about.json", about)
    shutil.copy2(uv.path(), folder / "uv")
    epoch = _epoch(blessed)
    _write_dockerfile(loaded, blessed, folder / "Dockerfile", base=base)
    _settle(folder)
    return Context(folder=folder, base=base, epoch=epoch, labels=_labels(blessed, base))


def _copy_server(folder: Path) -> None:
    package = folder / "mlops_actions"
    package.mkdir(parents=True)
    shutil.copyfile(_PACKAGE / "__init__.py", package / "__init__.py")
    shutil.copytree(
        _PACKAGE / "serving", package / "serving", ignore=shutil.ignore_patterns("__pycache__")
    )


def _epoch(blessed: Blessed) -> int:
    """When the version was registered: the same version always gives the same times."""
    try:
        return int(datetime.datetime.fromisoformat(blessed.created).timestamp())
    except ValueError:
        raise Failure("publish.json does not say when the version was registered.") from None


def _write_dockerfile(
    loaded: config.Project, blessed: Blessed, path: Path, *, base: str | None
) -> None:
    settings = loaded.config.build
    if settings.dockerfile:
        own = loaded.path(settings.dockerfile)
        if not own.is_file():
            raise loaded.error(f"There is no file {settings.dockerfile}.", "build", "dockerfile")
        shutil.copyfile(own, path)
        return
    chosen = settings.serving.model_dump(exclude_none=True)
    text = (
        jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
            undefined=jinja2.StrictUndefined,
            autoescape=False,  # noqa: S701 - a Dockerfile; every value in it was checked.
            keep_trailing_newline=True,
        )
        .get_template("Dockerfile.jinja")
        .render(
            tool=__version__,
            name=blessed.name,
            version=blessed.version,
            base=base,
            settled=_SETTLED,
            settings={f"MLOPS_{key.upper()}": value for key, value in chosen.items()},
            start_period=int(config.parse_duration(settings.ready_within).total_seconds()),
        )
    )
    path.write_text(text, encoding="utf-8")


def _settle(folder: Path) -> None:
    """Give every file rights and a time that do not depend on who made the context, and when.

    The time is made of the content: Docker sends a file again only when its size or time changed,
    so that with one time for all, a model of the same size would stay the one of the build before.
    """
    for path in [folder, *folder.rglob("*")]:
        executable = path.is_dir() or path.name == "uv"
        path.chmod(0o755 if executable else 0o644)
        own = int(evidence.sha256_file(path)[:7], 16) if path.is_file() else 0
        os.utime(path, (_SETTLED + own, _SETTLED + own))


def _labels(blessed: Blessed, base: str | None) -> dict[str, str]:
    now = github.event()
    created = datetime.datetime.fromisoformat(blessed.created).astimezone(datetime.UTC)
    labels = {
        "org.opencontainers.image.title": blessed.name,
        "org.opencontainers.image.version": blessed.version,
        "org.opencontainers.image.revision": blessed.commit,
        "org.opencontainers.image.created": created.isoformat(timespec="seconds"),
        f"{LABELS}.model.name": blessed.name,
        f"{LABELS}.model.version": blessed.version,
        f"{LABELS}.model.digest": f"sha256:{blessed.model_digest}",
        f"{LABELS}.evidence": f"sha256:{blessed.evidence_digest}",
    }
    if base:
        name, _, digest = base.partition("@")
        labels["org.opencontainers.image.base.name"] = name
        labels["org.opencontainers.image.base.digest"] = digest
    if now.repository:
        labels["org.opencontainers.image.source"] = f"{now.server}/{now.repository}"
    return {key: value for key, value in labels.items() if value}
