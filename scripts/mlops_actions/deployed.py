"""Fetch the image that is in use, so that it can be scanned again. Nothing of it is run.

In use is the image of the version with the alias champion; before any promotion, challenger.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence, github, results
from mlops_actions.build import blessed as versions
from mlops_actions.build import layout
from mlops_actions.build.context import LABELS
from mlops_actions.build.engine import crane
from mlops_actions.errors import Failure
from mlops_actions.registry import branch_of
from mlops_actions.registry.store import CHALLENGER, CHAMPION, Registry
from mlops_actions.scan import trusted
from mlops_actions.state import Checkout

AUTO = "auto"
# What is on the branch may be anybody's: a name of an image, and no option of crane's.
_REFERENCE = re.compile(r"[A-Za-z0-9][\w.:/-]*@(?P<digest>sha256:[0-9a-f]{64})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deployed:
    """The image in use: of which version, by which alias, and its name with the digest."""

    alias: str
    version: str
    digest: str
    reference: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml.")
    parser.add_argument("--output", type=Path, required=True, help="Work folder, written anew.")
    parser.add_argument(
        "--alias", default=AUTO, help="Alias of the version in use; auto: champion, or challenger."
    )


def run(arguments: argparse.Namespace) -> int:
    """Fetch the image; give 0 also when none is in use, with empty outputs."""
    loaded = config.load(arguments.config)
    name = loaded.config.name
    output: Path = arguments.output
    results.work_folder(output)
    github.set_output("model", name)
    found = find(loaded, arguments.alias)
    if found is None:
        github.info(f"No image of {name} is recorded: nothing is in use.")
        github.add_summary(f"No image of **{name}** is recorded: nothing is in use.")
        return 0
    github.info(f"{name} version {found.version} ({found.alias}) is {found.reference}")
    evidence.write_json(output / "deployed.json", fetch(name, found, output))
    trusted.write_configuration(output)
    github.set_output("version", found.version)
    github.set_output("digest", found.digest)
    github.set_output("reference", found.reference)
    return 0


def find(loaded: config.Project, alias: str) -> Deployed | None:
    """Find the image in use, or ``None`` when no image of the model was ever recorded.

    A version that was blessed and not built yet is not in use: then it is the newest before it
    that was.

    Raises :class:`Failure` when the alias that is asked for does not exist.
    """
    name = loaded.config.name
    with tempfile.TemporaryDirectory(prefix="mlops-state-") as folder:
        recorded = _recorded(branch_of(loaded).checkout(Path(folder)), name)
    if not recorded:  # Not worth the wait for MLflow's client.
        return None

    def look(registry: Registry, checkout: Checkout) -> Deployed:
        known = registry.aliases(name)
        wanted = (CHAMPION, CHALLENGER) if alias == AUTO else (alias,)
        chosen = next((one for one in wanted if one in known), None)
        if chosen is None:
            raise Failure(f"{name} has no version with the alias {' or '.join(wanted)}.")
        built = [number for number in recorded if number <= int(known[chosen])]
        version = str(max(built)) if built else known[chosen]
        record = versions.read_record(checkout, name, version)
        if record is None:
            raise Failure(f"{name} version {version} ({chosen}) has no image.")
        if version != known[chosen]:
            github.info(f"Version {known[chosen]} ({chosen}) is not built; {version} is.")
        digest, reference = str(record.get("digest")), str(record.get("reference"))
        named = _REFERENCE.fullmatch(reference)
        if named is None or named["digest"] != digest:
            raise Failure(f"The record of {name} version {version} names no image: {reference!r}.")
        return Deployed(alias=chosen, version=version, digest=digest, reference=reference)

    return versions.with_registry(loaded, look)


def _recorded(checkout: Checkout, name: str) -> list[int]:
    """Versions with an image on the branch."""
    if not checkout.exists:
        return []
    folder = Path(versions.record_path(name, "0")).parent.as_posix()
    listed = checkout.git("ls-tree", "--name-only", "HEAD", f"{folder}/").stdout
    files = (Path(line) for line in listed.splitlines())
    return [int(path.stem) for path in files if path.suffix == ".json" and path.stem.isdigit()]


def fetch(model: str, found: Deployed, output: Path) -> dict[str, Any]:
    """Pull the image as ``image/``, an OCI layout, and give the evidence.

    ``layout/`` gets what describes it, without its layers: so much tells which image a report is
    about. Raises :class:`Failure` when the registry does not have it, or has another.
    """
    whole = output / "image"
    answer = crane("pull", "--format=oci", found.reference, str(whole), check=False)
    if answer.returncode:
        raise Failure(
            f"The image in use, {found.reference}, cannot be fetched: "
            f"{answer.stderr.strip()[-1000:]}"
        )
    image = layout.read(whole)
    if image.manifest != found.digest:
        raise Failure(f"{found.reference} is {image.manifest}: the registry has another image.")
    about = {f"{LABELS}.model.name": model, f"{LABELS}.model.version": found.version}
    wrong = [key for key, value in about.items() if image.labels.get(key) != value]
    if wrong:
        raise Failure(f"The image says that it is of another version: {', '.join(wrong)}.")
    _describe(whole, output / "layout", [image.manifest, image.config])
    return evidence.statement(
        "deployed",
        "passed",
        [evidence.check("manifest", "pass", image.manifest, found.digest)],
        subjects=[evidence.subject("image", found.digest.removeprefix("sha256:"))],
        model=model,
        **dataclasses.asdict(found),
    )


def _describe(whole: Path, folder: Path, digests: list[str]) -> None:
    blobs = Path("blobs") / "sha256"
    (folder / blobs).mkdir(parents=True)
    shutil.copyfile(whole / "index.json", folder / "index.json")
    (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    for digest in digests:
        name = digest.removeprefix("sha256:")
        shutil.copyfile(whole / blobs / name, folder / blobs / name)
