"""Read Trivy's JSON reports, whatever is missing in them, and nothing that is not one.

Source of the fields: ``pkg/types/report.go`` of Trivy 0.74.0, schema version 2. Trivy leaves a
field out when it is empty. What it leaves out for that reason is accepted; what it would never
leave out (the id of a vulnerability) is an error, for a finding that is not understood must not
get lost.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from mlops_actions.errors import ConfigurationError, Failure

SCHEMA_VERSION = 2
IMAGE = "container_image"
SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")
PACKAGES = ("os-pkgs", "lang-pkgs")

Kind = Literal["vulnerability", "misconfiguration", "secret"]

# In the report of one image: its list, the kind of what is in it, and the key of its id.
_LISTS: tuple[tuple[str, Kind, str], ...] = (
    ("Vulnerabilities", "vulnerability", "VulnerabilityID"),
    ("Misconfigurations", "misconfiguration", "ID"),
    ("Secrets", "secret", "RuleID"),
)
_KINDS = {kind: (kind, key) for _, kind, key in _LISTS}
_CHECK = re.compile(r"(?:AVD-)?(?P<family>[A-Z]+)-?0*(?P<number>[0-9]+)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that Trivy found. Text is ``""`` where the report has none.

    A secret's text (``Match``, ``Code``) is not kept: no output of ours can show it.
    """

    kind: Kind
    id: str
    aliases: tuple[str, ...] = ()
    package: str = ""
    installed: str = ""
    fixed: str = ""
    severity: str = "UNKNOWN"
    class_: str = ""
    target: str = ""
    path: str = ""
    line: int | None = None
    status: str = ""
    title: str = ""
    url: str = ""
    suppressed: str = ""

    @property
    def ids(self) -> frozenset[str]:
        """The id, as each version of Trivy writes it."""
        return frozenset(same_id(name) for name in (self.id, *self.aliases))

    @property
    def places(self) -> frozenset[str]:
        """Names of the place it was found in."""
        return frozenset(place.lstrip("/") for place in (self.target, self.path) if place)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What one report says of one artifact."""

    file: Path
    sha256: str
    artifact: str
    artifact_type: str
    version: str
    created: str
    os: Mapping[str, Any]
    image_id: str
    repo_digests: tuple[str, ...]
    findings: tuple[Finding, ...]
    classes: frozenset[str]

    @property
    def is_image(self) -> bool:
        """Whether it is about an image; else it is about files, such as a Dockerfile."""
        return self.artifact_type == IMAGE

    @property
    def saw_packages(self) -> bool:
        """Whether packages were looked at, with or without a finding."""
        return not self.classes.isdisjoint(PACKAGES) or any(
            one.kind == "vulnerability" for one in self.findings
        )


def same_id(name: str) -> str:
    """Spell the id of a check in one way: DS002, DS-0002 and AVD-DS-0002 are the same."""
    found = _CHECK.fullmatch(name)
    return f"{found['family']}-{int(found['number']):04}".upper() if found else name.upper()


def read(path: Path) -> Report:
    """Read a report.

    Raises :class:`ConfigurationError` when there is no such file, and :class:`Failure` when it is
    not whole, not a report of Trivy's, or of a schema that this parser was not written for.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError("There is no such report, given as --report.", file=path) from None
    except OSError as problem:
        raise Failure(f"The report cannot be read: {problem.strerror}.", file=path) from None
    try:
        document = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as problem:
        raise Failure(
            f"The report is not whole, or not JSON: {problem}. Let Trivy write it again, with "
            "format: json.",
            file=path,
        ) from None
    if not isinstance(document, dict) or "SchemaVersion" not in document:
        raise Failure("This is not a report of Trivy's: it has no SchemaVersion.", file=path)
    version = document["SchemaVersion"]
    if version != SCHEMA_VERSION:
        raise Failure(
            f"The report has SchemaVersion {version!r}; only {SCHEMA_VERSION} is understood. Use a "
            "version of Trivy that writes it.",
            file=path,
        )
    return _Reader(path).report(document, hashlib.sha256(content).hexdigest())


@dataclasses.dataclass(frozen=True)
class _Reader:
    file: Path

    def report(self, document: dict[str, Any], sha256: str) -> Report:
        artifact_type = self.text(document, "ArtifactType", "The report")
        if not artifact_type:
            raise Failure(
                "This is not a report of Trivy's: it has no ArtifactType.", file=self.file
            )
        metadata = self.mapping(document.get("Metadata"), "Metadata")
        digests = self.sequence(metadata.get("RepoDigests"), "Metadata.RepoDigests")
        results = self.sequence(document.get("Results"), "Results")
        found: dict[Finding, None] = {}  # A package may be found twice at one place.
        classes = set()
        for place, result in enumerate(results):
            where = f"Results[{place}]"
            one = self.mapping(result, where)
            classes.add(self.text(one, "Class", where))
            found |= dict.fromkeys(self.findings(one, where))
        return Report(
            file=self.file,
            sha256=sha256,
            artifact=self.text(document, "ArtifactName", "The report"),
            artifact_type=artifact_type,
            version=self.text(self.mapping(document.get("Trivy"), "Trivy"), "Version", "Trivy"),
            created=self.text(document, "CreatedAt", "The report"),
            os=self.operating_system(metadata),
            image_id=self.text(metadata, "ImageID", "Metadata"),
            repo_digests=tuple(str(digest) for digest in digests),
            findings=tuple(found),
            classes=frozenset(classes),
        )

    def operating_system(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        system = self.mapping(metadata.get("OS"), "Metadata.OS")
        end = system.get("EOSL", False)
        if end is not None and not isinstance(end, bool):
            raise self.broken("Metadata.OS.EOSL is not true or false")
        return {
            "family": self.text(system, "Family", "Metadata.OS"),
            "name": self.text(system, "Name", "Metadata.OS"),
            "eosl": bool(end),
        }

    def findings(self, result: Mapping[str, Any], where: str) -> Iterator[Finding]:
        for name, kind, key in _LISTS:
            for place, item in enumerate(self.sequence(result.get(name), f"{where}.{name}")):
                yield from self.finding(result, item, kind, key, f"{where}.{name}[{place}]")
        name = "ExperimentalModifiedFindings"
        for place, item in enumerate(self.sequence(result.get(name), f"{where}.{name}")):
            here = f"{where}.{name}[{place}]"
            modified = self.mapping(item, here)
            type_ = self.text(modified, "Type", here)
            if type_ == "license":
                continue
            if type_ not in _KINDS:
                raise self.broken(f"{here} has an unknown Type")
            source = self.text(modified, "Source", here) or "Trivy's configuration"
            yield from self.finding(result, modified.get("Finding"), *_KINDS[type_], here, source)

    def finding(
        self, result: Mapping[str, Any], item: Any, kind: Kind, key: str, where: str, by: str = ""
    ) -> Iterator[Finding]:
        one = self.mapping(item, where)
        status = self.text(one, "Status", where)
        if kind == "misconfiguration" and status == "PASS":
            return
        identity = self.text(one, key, where)
        if not identity:
            raise self.broken(f"{where} has no {key}")
        line = one.get("StartLine")
        alias = self.text(one, "AVDID", where)
        title = self.text(one, "Title", where)
        severity = self.text(one, "Severity", where).upper()
        yield Finding(
            kind=kind,
            id=identity,
            aliases=(alias,) if alias else (),
            package=self.text(one, "PkgName", where),
            installed=self.text(one, "InstalledVersion", where),
            fixed=self.text(one, "FixedVersion", where),
            # A word that we do not know may mean anything.
            severity=severity if severity in SEVERITIES else "UNKNOWN",
            class_=self.text(result, "Class", where),
            target=self.text(result, "Target", where),
            path=self.text(one, "PkgPath", where),
            line=line if isinstance(line, int) and kind == "secret" else None,
            status=status,
            title=title or self.text(one, "Message", where) * (kind == "misconfiguration"),
            url=self.text(one, "PrimaryURL", where),
            suppressed=by,
        )

    def text(self, holder: Mapping[str, Any], key: str, where: str) -> str:
        value = holder.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.broken(f"{where}: {key} is not text")
        return value

    def mapping(self, value: Any, where: str) -> Mapping[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.broken(f"{where} is not an object")
        return value

    def sequence(self, value: Any, where: str) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.broken(f"{where} is not a list")
        return value

    def broken(self, what: str) -> Failure:
        return Failure(f"The report is not as Trivy writes it: {what}.", file=self.file)
