# ruff: noqa: INP001 - part of a program of its own.
"""Look into an image: an OCI layout or what ``docker save`` writes, as a folder or as a tar."""

import contextlib
import dataclasses
import hashlib
import json
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, BinaryIO

from leaks import is_searched, secrets_in  # type: ignore[import-not-found]

_LARGEST = 10 * 1024 * 1024  # Bytes of a file that is read for secrets.
_ATTESTATION = "vnd.docker.reference.type"
_PYTHON = re.compile(r"[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)$")
_SYSTEM = {
    "var/lib/dpkg/status",
    "etc/debian_version",
    "etc/os-release",
    "usr/lib/os-release",
}


@dataclasses.dataclass
class Image:
    """What an image holds, as far as a scan is about it."""

    config: bytes
    manifest_digest: str | None = None
    tags: list[str] = dataclasses.field(default_factory=list)
    digests: list[str] = dataclasses.field(default_factory=list)
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    secrets: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)

    @property
    def id(self) -> str:
        """The image's ID: the digest of its configuration."""
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"


Open = Callable[[str], BinaryIO]


@contextlib.contextmanager
def _opener(path: Path) -> Iterator[Open]:
    if path.is_dir():
        yield lambda name: (path / name).open("rb")
        return
    try:
        archive = tarfile.open(path)  # noqa: SIM115 - closed below.
    except (OSError, tarfile.ReadError) as problem:
        sys.exit(f"::error::{path}: not an image: {problem}")
    with archive:

        def from_archive(name: str) -> BinaryIO:
            for spelling in (name, f"./{name}"):
                try:
                    file = archive.extractfile(spelling)
                except KeyError:
                    continue
                if file is not None:
                    return file  # type: ignore[return-value]
            raise FileNotFoundError(name)

        yield from_archive


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _layers(open_: Open) -> tuple[Image, list[str]]:
    """Give the image without its files, and the names of its layers, the lowest first."""
    try:
        with open_("manifest.json") as file:
            manifest = json.load(file)[0]
        with open_(manifest["Config"]) as file:
            image = Image(config=file.read(), tags=manifest.get("RepoTags") or [])
        return image, manifest["Layers"]
    except FileNotFoundError:
        pass
    with open_("index.json") as file:
        index = json.load(file)
    while "manifests" in index:
        images = [
            one for one in index["manifests"] if _ATTESTATION not in (one.get("annotations") or {})
        ]
        digest = images[0]["digest"]
        with open_(_blob(digest)) as file:
            index = json.load(file)
    with open_(_blob(index["config"]["digest"])) as file:
        image = Image(config=file.read(), manifest_digest=digest)
    return image, [_blob(layer["digest"]) for layer in index["layers"]]


def read(path: Path) -> Image:
    """Read an image, layer by layer. A secret that a later layer deletes is still in it."""
    with _opener(path) as open_:
        try:
            image, layers = _layers(open_)
        except (OSError, ValueError, LookupError, TypeError, tarfile.TarError) as problem:
            sys.exit(
                f"::error::{path}: neither an OCI layout nor what docker save writes: {problem}"
            )
        for layer in layers:
            try:
                with open_(layer) as file, tarfile.open(fileobj=file, mode="r|*") as content:
                    _apply(content, image)
            except (OSError, tarfile.TarError) as problem:
                sys.exit(f"::error::{path}: the layer {layer} cannot be read: {problem}")
    return image


def _apply(layer: tarfile.TarFile, image: Image) -> None:
    added: dict[str, bytes] = {}
    # Source: OCI Image Format, "Image Layer Filesystem Changeset", "Whiteouts".
    for member in layer:
        name = member.name.removeprefix("./").lstrip("/")
        folder, _, last = name.rpartition("/")
        inside = f"{folder}/" if folder else ""
        if last == ".wh..wh..opq":
            _forget(image.files, inside)
        elif last.startswith(".wh."):
            _forget(image.files, f"{inside}{last.removeprefix('.wh.')}/")
        elif member.isfile():
            wanted = name in _SYSTEM or name.startswith("var/lib/dpkg/status.d/")
            wanted = wanted or bool(_PYTHON.search(name))
            searched = member.size <= _LARGEST and is_searched(name)
            if not (wanted or searched):
                continue
            file = layer.extractfile(member)
            content = file.read() if file else b""
            if wanted:
                added[name] = content
            if searched and (found := secrets_in(content)):
                image.secrets[name] = found
    image.files.update(added)


def _forget(files: dict[str, bytes], gone: str) -> None:
    """Remove a file, or all files below a folder; ``gone`` ends with a slash."""
    for path in [path for path in files if f"{path}/".startswith(gone)]:
        del files[path]


def system(image: Image) -> dict[str, str]:
    """Give the family and the version of the operating system."""
    text = image.files.get("etc/os-release") or image.files.get("usr/lib/os-release") or b""
    lines = [line.partition("=") for line in text.decode(errors="replace").splitlines()]
    release = {key: value.strip("\"'") for key, _, value in lines}
    name = release.get("VERSION_ID", "")
    version = image.files.get("etc/debian_version", b"").decode(errors="replace").strip()
    if release.get("ID") == "debian" and version[:1].isdigit():
        name = version
    return {"Family": release.get("ID", "none"), "Name": name}


def debian_packages(image: Image) -> list[dict[str, str]]:
    """Give the installed packages of Debian, with the source that each is made from."""
    paths = [path for path in image.files if path.startswith("var/lib/dpkg/status")]
    found = []
    for path in sorted(paths):
        text = image.files[path].decode(errors="replace")
        for paragraph in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*)$", paragraph))
            # A removed package may have left its configuration. Distroless images have no Status.
            state = fields.get("Status", "install ok installed")
            if "Package" not in fields or not state.endswith(" installed"):
                continue
            source = re.match(r"(\S+)(?:\s+\((.+)\))?", fields.get("Source", ""))
            found.append(
                {
                    "Name": fields["Package"],
                    "Version": fields.get("Version", ""),
                    "Source": source[1] if source else fields["Package"],
                    "SourceVersion": (source and source[2]) or fields.get("Version", ""),
                }
            )
    return found


def python_packages(image: Image) -> list[dict[str, str]]:
    """Give the installed packages of Python."""
    found = []
    for path in sorted(path for path in image.files if _PYTHON.search(path)):
        fields = HeaderParser().parsestr(image.files[path].decode(errors="replace"))
        if fields["Name"] and fields["Version"]:
            found.append({"Name": fields["Name"], "Version": fields["Version"], "FilePath": path})
    return found
