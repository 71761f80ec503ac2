"""An OCI layout, checked: every file is what its name says.

Source: OCI Image Format, "Image Layout Specification".
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from mlops_actions import evidence
from mlops_actions.errors import Failure

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """One image; digests begin with ``sha256:``."""

    folder: Path
    manifest: str
    config: str
    labels: dict[str, str]
    settings: dict[str, Any]  # The image's configuration: User, Env, Healthcheck…
    bytes: int  # Of its layers, compressed.


def read(folder: Path) -> Layout:
    """Read a layout of exactly one image and compare every blob with its digest.

    Raises :class:`Failure` when something is missing, changed, or there beyond the image.
    """
    index = evidence.read_json(folder / "index.json")
    manifests = index.get("manifests")
    if not isinstance(manifests, list) or len(manifests) != 1:
        raise Failure("The OCI layout must hold one image.", file=folder)
    digest = _digest(manifests[0], folder)
    manifest = _document(folder, digest)
    layers = manifest.get("layers")
    if not isinstance(layers, list):
        raise Failure("The OCI layout's manifest is not an image's.", file=folder)
    config = _digest(manifest.get("config"), folder)
    named = {digest, config, *(_digest(layer, folder) for layer in layers)}
    for one in named:
        _blob(folder, one)
    there = {f"sha256:{path.name}" for path in (folder / "blobs" / "sha256").iterdir()}
    if there - named:
        raise Failure("The OCI layout has files that are not the image's.", file=folder)
    settings = _document(folder, config).get("config") or {}
    return Layout(
        folder=folder,
        manifest=digest,
        config=config,
        labels=settings.get("Labels") or {},
        settings=settings,
        bytes=sum(int(layer.get("size", 0)) for layer in layers),
    )


def _digest(descriptor: Any, folder: Path) -> str:
    text = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise Failure("The OCI layout names something without a digest.", file=folder)
    return text


def _blob(folder: Path, digest: str) -> Path:
    path = folder / "blobs" / "sha256" / digest.removeprefix("sha256:")
    if path.is_symlink() or not path.is_file():
        raise Failure("The OCI layout is not whole.", file=path)
    if f"sha256:{evidence.sha256_file(path)}" != digest:
        raise Failure("The content is not what its name says.", file=path)
    return path


def _document(folder: Path, digest: str) -> dict[str, Any]:
    path = _blob(folder, digest)
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise Failure("Not valid JSON.", file=path) from None
    if not isinstance(document, dict):
        raise Failure("Expected a JSON object.", file=path)
    return document
