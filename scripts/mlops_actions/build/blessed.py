"""One registered version, with the evidence that says it is blessed."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mlops_actions import config, evidence
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.registry import branch_of
from mlops_actions.registry.store import (
    CHALLENGER,
    EmbeddedRegistry,
    Registry,
    ServerRegistry,
    Version,
    quiet,
    tracking_uri,
)
from mlops_actions.state import Checkout

T = TypeVar("T")
_JUDGED = ("validate", "train", "score")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blessed:
    """A version whose evidence holds."""

    name: str
    version: str
    run_id: str
    model_digest: str  # SHA-256 of the tree of the model's files.
    evidence_digest: str  # SHA-256 of publish.json, the end of the chain.
    commit: str
    created: str  # When it was registered, ISO 8601.

    def document(self) -> dict[str, Any]:
        """The JSON that jobs hand over."""
        return dataclasses.asdict(self)

    @classmethod
    def read(cls, path: Path) -> Blessed:
        """Read :meth:`document` back."""
        document = evidence.read_json(path)
        try:
            return cls(**document)
        except TypeError:
            raise Failure("This is not what `build resolve` wrote.", file=path) from None


def record_path(name: str, version: str) -> str:
    """Where the branch ``mlops-state`` records the image of a version."""
    return f"images/{name}/{version}.json"


def read_record(checkout: Checkout, name: str, version: str) -> dict[str, Any] | None:
    """What is recorded about a version's image, or ``None``."""
    relative = record_path(name, version)
    checkout.bring([relative])
    path = checkout.folder / relative
    return evidence.read(path, "record") if path.is_file() else None


def with_registry(project: config.Project, action: Callable[[Registry, Checkout], T]) -> T:
    """Call ``action`` with the project's registry and a checkout of ``mlops-state``, to read."""
    quiet()
    uri = tracking_uri(project.config.registry)
    with tempfile.TemporaryDirectory(prefix="mlops-state-") as folder:
        checkout = branch_of(project).checkout(Path(folder))
        if uri:
            return action(ServerRegistry(uri), checkout)
        if not EmbeddedRegistry.exists(checkout):
            raise Failure("There is no registry yet: train.yml makes it, with the first version.")
        return action(EmbeddedRegistry(checkout), checkout)


def find(registry: Registry, name: str, wanted: str) -> Version:
    """The version that ``wanted`` numbers, or the challenger."""
    if wanted != CHALLENGER:
        if not wanted.isdigit():
            raise ConfigurationError(f"version: expected a number or {CHALLENGER}, not {wanted!r}.")
        return registry.version(name, wanted)
    alias = registry.aliases(name).get(CHALLENGER)
    if alias is None:
        raise Failure(f"{name} has no version with the alias {CHALLENGER}: nothing is blessed.")
    return registry.version(name, alias)


def fetch(registry: Registry, version: Version, output: Path) -> Blessed:
    """Write the version's ``model/`` and ``evidence/``, and verify one against the other.

    Raises :class:`Failure` when a document is missing or is not the one that the next names, when
    the verdict is not ``blessed``, or when the model is not the one that was judged.
    """
    kept, model = output / "evidence", output / "model"
    registry.download_evidence(version, kept)
    if not (kept / "publish.json").is_file():
        raise Failure(
            f"{version.name} version {version.version} has no evidence: it was not registered by "
            "train.yml, so nothing says that it is good."
        )
    registry.download_model(version, model)
    return verify(version, kept, model)


def verify(version: Version, kept: Path, model: Path) -> Blessed:
    """Follow the chain of evidence from ``publish.json`` down to the model's files."""
    published = evidence.read(kept / "publish.json", "publish")
    named = f"{version.name} version {version.version}"
    if (published.get("model"), published.get("version")) != (version.name, version.version):
        raise Failure(f"This is not the evidence of {named}.", file=kept / "publish.json")
    _linked(published, kept, ["gate"])
    gate = evidence.read(kept / "gate.json", "gate")
    if version.tags.get("mlops.gate_digest") != evidence.sha256_file(kept / "gate.json"):
        raise Failure("The version's tag names another verdict.", file=kept / "gate.json")
    verdict = gate["verdict"]
    if verdict != "blessed" or gate.get("gated") is False:
        raise Failure(f"{named} is not blessed: its verdict is {verdict}. Nothing is built.")
    _linked(gate, kept, _JUDGED)
    trained = evidence.read_json(kept / "train.json")
    subjects = {item["name"]: item["digest"]["sha256"] for item in trained["subject"]}
    digest = evidence.sha256_tree(model)
    if not digest == subjects.get("model") == version.tags.get("mlops.model_digest"):
        raise Failure(f"The files of {named} are not those that were judged.", file=model)
    return Blessed(
        name=version.name,
        version=version.version,
        run_id=version.run_id,
        model_digest=digest,
        evidence_digest=evidence.sha256_file(kept / "publish.json"),
        commit=version.tags.get("mlops.commit", ""),
        created=str(published.get("created", "")),
    )


def _linked(predicate: dict[str, Any], kept: Path, stages: tuple[str, ...] | list[str]) -> None:
    named = {item["name"]: item["digest"]["sha256"] for item in predicate.get("previous", [])}
    for stage in stages:
        path = kept / f"{stage}.json"
        if not path.is_file() or named.get(path.name) != evidence.sha256_file(path):
            raise Failure("The evidence was changed after the verdict.", file=path)
