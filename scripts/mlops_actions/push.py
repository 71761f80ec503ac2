"""Push an image that was built, proved and scanned, and show that it is that one.

Runs nothing of the model's. What the job before handed over is files from a stranger: the version's
evidence is fetched and verified again, every file of the image is compared with its digest, and
what the registry then serves is compared once more.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import tempfile
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence, github
from mlops_actions.build import attested, layout
from mlops_actions.build import blessed as versions
from mlops_actions.build.blessed import Blessed
from mlops_actions.build.context import LABELS
from mlops_actions.build.engine import crane
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.registry.store import Registry
from mlops_actions.scan import components
from mlops_actions.state import Checkout

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")
_PATH = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml.")
    parser.add_argument("--handover", type=Path, required=True, help="Folder with the image.")
    parser.add_argument("--built-version", default="", help="Version that is recorded already.")
    parser.add_argument("--registry", default="ghcr.io", help="Host of the image registry.")
    parser.add_argument("--image", default="auto", help="Path in it; auto: REPOSITORY/MODEL.")
    parser.add_argument("--attest", default="auto", help="auto, true or false.")


def run(arguments: argparse.Namespace) -> int:
    """Push; give 0 when the image is where it should be."""
    loaded = config.load(arguments.config)
    github.event().require_default_branch("pushes images")
    if arguments.built_version:
        return _unchanged(loaded, arguments.built_version)
    attest = github.plan_has("attest", arguments.attest)
    if not attest and loaded.config.unattested == "refuse":
        raise loaded.error(
            "The image would have no attestation (input attest; a private repository needs "
            "Enterprise Cloud), and unattested is refuse. Nothing is pushed. If your plan has no "
            "attestations, set unattested: allow.",
            "unattested",
        )
    place = place_of(arguments.registry, arguments.image, loaded.config.name)
    handover: Path = arguments.handover
    document = push(loaded, handover, place)
    predicate = document["predicate"]
    # What is attested as the evidence: it names every document of the chain by its digest.
    evidence.write_json(handover / "push.json", document)
    evidence.write_json(handover / "predicate.json", predicate)
    github.info(f"Pushed {predicate['reference']}")
    _say(predicate, "passed")
    github.set_output("image", place)
    github.set_output("attested", _word(attest))
    return 0


def _say(predicate: dict[str, Any], verdict: str) -> None:
    github.set_output("version", predicate["version"])
    github.set_output("digest", predicate["digest"])
    github.set_output("reference", predicate["reference"])
    github.set_output("verdict", verdict)


def _word(value: object) -> str:
    return "true" if value else "false"


def place_of(registry: str, image: str, model: str) -> str:
    """Where the image goes, such as ``ghcr.io/owner/name/model``."""
    repository = github.event().repository.lower()
    path = "/".join(part for part in (repository, model) if part) if image == "auto" else image
    if not _HOST.fullmatch(registry):
        raise ConfigurationError(f"registry: expected a host such as ghcr.io, not {registry!r}.")
    if not _PATH.fullmatch(path):
        raise ConfigurationError(
            f"image: {path!r} is not a path that registries take: lower case letters and digits, "
            "with single separators between them."
        )
    return f"{registry}/{path}"


def _unchanged(loaded: config.Project, version: str) -> int:
    name = loaded.config.name

    def look(_registry: Registry, checkout: Checkout) -> dict[str, Any] | None:
        return versions.read_record(checkout, name, version)

    record = versions.with_registry(loaded, look)
    if record is None:
        raise Failure(f"No image of {name} version {version} is recorded.")
    github.info(f"{name} version {version} is built already: {record['reference']}")
    _say(record, "unchanged")
    return 0


def push(loaded: config.Project, handover: Path, place: str) -> dict[str, Any]:
    """Verify everything, push, and compare what the registry serves; give the evidence.

    Raises :class:`Failure` before the first byte is sent when anything is not as it should be.
    """
    built = evidence.read(handover / "build.json", "build")
    scanned = evidence.read(handover / "scan.json", "scan")
    with tempfile.TemporaryDirectory(prefix="mlops-version-") as folder:

        def fetch(registry: Registry, _checkout: Checkout) -> Blessed:
            version = versions.find(registry, loaded.config.name, str(built.get("version")))
            return versions.fetch(registry, version, Path(folder))

        blessed = versions.with_registry(loaded, fetch)
        kept = Path(folder) / "evidence"
        signed = (
            evidence.check("attestation", "skipped", message="unattested is allow")
            if loaded.config.unattested == "allow"
            else attested.verify(kept / "gate.json")
        )
        found = layout.read(handover / "layout")
        agree(blessed, built, scanned, found)
        components.require(handover / "sbom.cdx.json", found.config)
        tags = [f"v{blessed.version}", *([blessed.commit] if blessed.commit else [])]
        served(place, tags, found)
        return evidence.statement(
            "push",
            "passed",
            [
                evidence.check("evidence", "pass", "blessed", "blessed"),
                signed,
                evidence.check("build", "pass", built["verdict"], "passed"),
                evidence.check("scan", "pass", scanned["verdict"], "passed"),
                evidence.check("manifest", "pass", found.manifest, found.manifest),
            ],
            subjects=[evidence.subject(place, found.manifest.removeprefix("sha256:"))],
            inputs=[
                evidence.subject(path.name, evidence.sha256_file(path))
                for path in (handover / "trivy.json", handover / "sbom.cdx.json")
            ],
            previous=[
                *(handover / name for name in ("build.json", "scan.json")),
                *(kept / name for name in ("gate.json", "publish.json")),
            ],
            model=blessed.name,
            version=blessed.version,
            run_id=blessed.run_id,
            image=place,
            digest=found.manifest,
            reference=f"{place}@{found.manifest}",
            tags=tags,
            base=built.get("base"),
            unattested=loaded.config.unattested,
        )


def agree(
    blessed: Blessed, built: dict[str, Any], scanned: dict[str, Any], found: layout.Layout
) -> None:
    """Refuse unless build, scan and image are about each other and about a blessed version."""
    for stage, predicate in (("build", built), ("scan", scanned)):
        if predicate["verdict"] != "passed":
            bad = [one for one in predicate["checks"] if one["status"] in {"fail", "inconclusive"}]
            said = "; ".join(
                f"{one['name']}: {one.get('message') or one['observed']}" for one in bad
            )
            raise Failure(f"The {stage} {predicate['verdict']}: {said or 'see its report'}")
        if predicate.get("model") != blessed.name:
            raise Failure(f"The {stage} is of another model.")
    image = built.get("image") or {}
    if image.get("manifest") != found.manifest:
        raise Failure(f"The image is {found.manifest}; {image.get('manifest')} was proved.")
    if scanned.get("image") not in {found.manifest, found.config}:
        raise Failure(f"The image is {found.manifest}; {scanned.get('image')} was scanned.")
    labels = {
        f"{LABELS}.model.name": blessed.name,
        f"{LABELS}.model.version": blessed.version,
        f"{LABELS}.model.digest": f"sha256:{blessed.model_digest}",
        f"{LABELS}.evidence": f"sha256:{blessed.evidence_digest}",
    }
    wrong = [key for key, value in labels.items() if found.labels.get(key) != value]
    if wrong:
        raise Failure(f"The image says that it is of another version: {', '.join(wrong)}.")


def served(place: str, tags: list[str], found: layout.Layout) -> None:
    """Push under the first tag, prove what the registry serves, then add the other tags."""
    first = f"{place}:{tags[0]}"
    before = crane("digest", first, check=False).stdout.strip()
    if before and before != found.manifest:
        github.warning(f"{first} was {before}; it becomes {found.manifest}.")
    answer = crane("push", str(found.folder), first, check=False)
    if answer.returncode:
        raise Failure(
            f"The registry did not take the image: {answer.stderr.strip()[-1000:]} Nothing is "
            "recorded; run this again when the registry answers."
        )
    prove(f"{first}", found.manifest)
    for tag in tags[1:]:
        crane("tag", f"{place}@{found.manifest}", tag)


def prove(reference: str, digest: str) -> None:
    """Compare what a registry serves with a digest, by its word and by its bytes."""
    said = crane("digest", reference).stdout.strip()
    content = crane("manifest", reference).stdout.encode()
    own = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if not said == own == digest:
        raise Failure(
            f"{reference} is {own}, and {digest} was scanned: do not use it. Nothing is recorded."
        )
