"""Which image a report is about."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.scan.trivy import Report

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """The one image of an OCI layout: digests of its manifest and of its configuration."""

    manifest: str
    config: str


def digest(text: str) -> str:
    """Check a digest given on the command line."""
    if not _DIGEST.fullmatch(text):
        raise ConfigurationError(
            f"--image-digest: expected sha256: and 64 hexadecimal digits, not {text!r}."
        )
    return text


def _blob(folder: Path, descriptor: Any) -> Any:
    name = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(name, str) or not _DIGEST.fullmatch(name):
        raise Failure("The OCI layout names something without a digest.", file=folder)
    path = folder / "blobs" / "sha256" / name.removeprefix("sha256:")
    return _json(path, name)


def _json(path: Path, expected: str | None = None) -> Any:
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except (OSError, ValueError, RecursionError):
        raise Failure("This is not an OCI layout, or not a whole one.", file=path) from None
    if expected and f"sha256:{hashlib.sha256(content).hexdigest()}" != expected:
        raise Failure("The content is not what its name says.", file=path)
    if not isinstance(document, dict):
        raise Failure("This is not an OCI layout, or not a whole one.", file=path)
    return document


def read_layout(folder: Path) -> Layout:
    """Give the digests of the one image in an OCI layout; its manifest is checked against them.

    Source: OCI Image Format, "Image Layout Specification".
    """
    descriptors = _json(folder / "index.json").get("manifests")
    if not isinstance(descriptors, list) or len(descriptors) != 1:
        raise Failure("The OCI layout must hold one image.", file=folder)
    document = _blob(folder, descriptors[0])
    config = document.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("digest"), str):
        raise Failure("The OCI layout's manifest is not an image's.", file=folder)
    _blob(folder, config)
    return Layout(manifest=descriptors[0]["digest"], config=config["digest"])


def identify(reports: Sequence[Report], given: str | None, layout: Layout | None) -> str | None:
    """Give the digest of the image that every report is about; ``None`` when none says it.

    ``given`` is a digest of its manifest or of its configuration, ``layout`` the OCI layout that
    was scanned. A scan of a layout or of a file knows the configuration only (``ImageID``): that
    a manifest's digest belongs to it, the layout shows.

    Raises :class:`Failure` when a report is about another image, or about none.
    """
    images = [report for report in reports if report.is_image]
    if not images:
        raise Failure("No report is about an image: add the one that Trivy made of the image.")
    ids = {report.image_id for report in images}
    if len(ids) > 1:
        raise Failure(f"The reports are about several images: {', '.join(sorted(ids))}.")
    if layout and given and given not in {layout.manifest, layout.config}:
        raise Failure(f"The layout holds {layout.manifest}, not {given}.")
    for report in images:
        if layout and report.image_id != layout.config:
            raise Failure(
                f"The report is about an image with the ID {report.image_id or '(none)'}; the "
                f"layout's is {layout.config}.",
                file=report.file,
            )
        known = {report.image_id} | {name.rpartition("@")[2] for name in report.repo_digests}
        if given and not layout and given not in known:
            names = ", ".join(sorted(known - {""})) or "no digest"
            raise Failure(
                f"The report is about another image than {given}: it knows {names}.",
                file=report.file,
            )
    if layout:
        return layout.manifest
    digests = {name.rpartition("@")[2] for report in images for name in report.repo_digests}
    found = given or (digests.pop() if len(digests) == 1 else images[0].image_id)
    return found if _DIGEST.fullmatch(found) else None
