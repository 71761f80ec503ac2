"""An OCI layout: written from the engine's image, and checked, every file by its name.

The digest of an image is that of its manifest, and older engines make one only while they push. So
it is made here, from what `docker save` gives, and stays: the registry gets these very files.

Source: OCI Image Format, "Image Layout Specification" and "Image Manifest Specification".
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import posixpath
import re
import shutil
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_actions import evidence
from mlops_actions.build.engine import docker
from mlops_actions.errors import Failure

_CHUNK = 8 << 20  # Bytes that are compressed at once; part of what the digest depends on.
_LEVEL = 1  # gzip's fastest: an eighth larger than its default, in a quarter of the time.
_OCI = "application/vnd.oci.image"
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


def write(tag: str, folder: Path) -> None:
    """Write an image of the engine as an OCI layout; the same image gives the same files."""
    shutil.rmtree(folder, ignore_errors=True)
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="mlops-save-", dir=folder.parent) as temporary:
        saved = Path(temporary) / "image.tar"
        docker("save", "--output", str(saved), tag)
        with tarfile.open(saved) as archive:
            described = json.loads(_content(archive, "manifest.json"))[0]
            config = _keep(blobs, _content(archive, described["Config"]))
            layers = [_compress(archive, name, blobs) for name in described["Layers"]]
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": {"mediaType": f"{_OCI}.config.v1+json", **config},
        "layers": [{"mediaType": f"{_OCI}.layer.v1.tar+gzip", **layer} for layer in layers],
    }
    kept = _keep(blobs, json.dumps(manifest, separators=(",", ":")).encode())
    index = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.index.v1+json",
        "manifests": [{"mediaType": f"{_OCI}.manifest.v1+json", **kept}],
    }
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))


def _file(archive: tarfile.TarFile, name: str) -> Any:
    member = archive.getmember(name)
    if member.issym():  # A layer that occurs twice.
        member = archive.getmember(
            posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        )
    return archive.extractfile(member)


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    content: bytes = _file(archive, name).read()
    return content


def _keep(blobs: Path, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def _compress(archive: tarfile.TarFile, name: str, blobs: Path) -> dict[str, Any]:
    partial = blobs / "partial"
    digest, size = hashlib.sha256(), 0
    source = _file(archive, name)
    if source.peek(2)[:2] == b"\x1f\x8b":  # Newer engines may keep layers compressed.
        parts: Iterator[bytes] = iter(lambda: source.read(_CHUNK), b"")
    else:
        parts = _gzip(source)
    with partial.open("wb") as output:
        for part in parts:
            output.write(part)
            digest.update(part)
            size += len(part)
    partial.rename(blobs / digest.hexdigest())
    return {"digest": f"sha256:{digest.hexdigest()}", "size": size}


def _gzip(source: Any) -> Iterator[bytes]:
    """One gzip member whose blocks were compressed beside each other, as pigz does it.

    Each chunk ends on a byte (a flush), so that they can follow each other; the sum of the content
    is made on the way. Source: RFC 1951 and 1952.
    """
    workers = os.cpu_count() or 1
    check = size = 0
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"  # No name, no time; fastest; any system.
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        while chunks := [chunk for _ in range(2 * workers) if (chunk := source.read(_CHUNK))]:
            blocks = pool.map(_deflate, chunks)
            for chunk in chunks:
                check = zlib.crc32(chunk, check)
                size += len(chunk)
            yield from blocks
    yield b"\x03\x00" + struct.pack("<II", check, size & 0xFFFFFFFF)  # An empty last block.


def _deflate(chunk: bytes) -> bytes:
    engine = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return engine.compress(chunk) + engine.flush(zlib.Z_SYNC_FLUSH)


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
