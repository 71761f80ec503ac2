"""Register a blessed candidate, move the alias challenger, keep the evidence with the version.

Reads what the job ``model`` handed over as files from a stranger: names, sizes and digests are
checked first, no database is opened and no address in them is followed.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence, exported_run, github, pipeline
from mlops_actions.errors import Failure
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
from mlops_actions.score import GOLDEN
from mlops_actions.state import Checkout
from mlops_actions.validate import manifest

_STAGES = ("validate", "train", "score", "gate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml.")
    parser.add_argument(
        "--handover", type=Path, required=True, help="Folder with the run and its evidence."
    )
    parser.add_argument(
        "--attested",
        choices=("true", "false"),
        default="false",
        help="Whether the gate's evidence was attested (default: false).",
    )
    parser.add_argument(
        "--gate", type=Path, required=True, help="gate.json, as written by `gate` in this job."
    )


def run(arguments: argparse.Namespace) -> int:
    """Publish; give 0 when a version was registered."""
    loaded = config.load(arguments.config)
    event = github.event()
    event.require_default_branch("registers models")
    handover: Path = arguments.handover
    attested = github.boolean("attested", arguments.attested)
    if event.name and not attested:
        unattested(loaded)
    predicate = verify(handover, arguments.gate)
    exported_run.check_files(handover)
    exported = exported_run.read(handover / "run" / "run.json")
    trained = evidence.read(handover / "train.json", "train")
    data = manifest.read(handover / "data.json")
    tags = {
        "mlops.verdict": predicate["verdict"],
        "mlops.original_run_id": exported.run_id,
        "mlops.pipeline_digest": pipeline.digest_again(loaded, data, trained),
        "mlops.model_digest": evidence.sha256_tree(handover / "run" / "model"),
        "mlops.gate_digest": evidence.sha256_file(arguments.gate),
        "mlops.attested": arguments.attested,
        "mlops.commit": event.commit,
        "mlops.cutoff": str(data["training"]["cutoff"] or ""),
    }
    override = predicate.get("override")
    if override:
        tags["mlops.override"] = f"{override['who']}: {override['why']}"
    with tempfile.TemporaryDirectory(prefix="mlops-evidence-") as folder:
        kept = Path(folder) / "evidence"
        _collect(handover, arguments.gate, kept)
        version, document = _register(loaded, exported, handover / "run", kept, tags)
    evidence.write_json(arguments.gate.with_name("publish.json"), document)
    name = loaded.config.name
    github.info(f"Registered {name} version {version.version}, alias {CHALLENGER}.")
    github.add_summary(
        f"Registered **{name}** version **{version.version}** with alias `{CHALLENGER}`."
    )
    github.set_output("version", version.version)
    github.set_output("run-id", version.run_id)
    return 0


def unattested(loaded: config.Project) -> None:
    """Say that evidence is unsigned; raise :class:`Failure` where the policy refuses that."""
    if loaded.config.unattested == "refuse":
        raise Failure(
            "The verdict was not attested, and unattested is refuse. Attestations need a public "
            "repository or GitHub Enterprise Cloud; without them, set unattested: allow in "
            "mlops.yaml, which every report will show."
        )
    github.warning("The verdict is not attested: unattested is allow.")


def verify(handover: Path, gate: Path) -> dict[str, Any]:
    """Check the chain of evidence up to the gate's verdict; give the gate's predicate.

    Raises :class:`Failure` when the verdict is not ``blessed`` or a file is not the one that was
    judged.
    """
    predicate = evidence.read(gate, "gate")
    if predicate["verdict"] != "blessed":
        raise Failure(f"The verdict is {predicate['verdict']}: only blessed models are registered.")
    if predicate.get("gated") is False:
        raise Failure("The gate ran without deciding (mode): only blessed models are registered.")
    judged = {item["name"]: item["digest"]["sha256"] for item in predicate["previous"]}
    for stage in _STAGES[:-1]:
        path = handover / f"{stage}.json"
        if not path.is_file() or judged.get(path.name) != evidence.sha256_file(path):
            raise Failure("This is not the evidence that was judged.", file=path)
        evidence.read(path, stage)
    if _subjects(handover / "validate.json").get("data.json") != evidence.sha256_file(
        handover / "data.json"
    ):
        raise Failure("This is not the data that was judged.", file=handover / "data.json")
    subjects = _subjects(handover / "train.json")
    run = handover / "run"
    exported_run.check_files(run)
    if subjects.get("run") != evidence.sha256_file(run / "run.json"):
        raise Failure("This is not the run that was judged.", file=run / "run.json")
    if subjects.get("model") != evidence.sha256_tree(run / "model"):
        raise Failure("This is not the model that was judged.", file=run / "model")
    return predicate


def _subjects(path: Path) -> dict[str, str]:
    return {item["name"]: item["digest"]["sha256"] for item in evidence.read_json(path)["subject"]}


def _collect(handover: Path, gate: Path, folder: Path) -> None:
    folder.mkdir()
    judged = (f"{stage}.json" for stage in _STAGES[:-1])
    for name in ("data.json", "profile.json", GOLDEN, *judged):
        if (handover / name).is_file():
            shutil.copyfile(handover / name, folder / name)
    golden, scored = folder / GOLDEN, _subjects(folder / "score.json")
    if golden.is_file() and scored.get(GOLDEN) != evidence.sha256_file(golden):
        raise Failure("These are not the golden rows that were scored.", file=handover / GOLDEN)
    shutil.copyfile(gate, folder / "gate.json")
    judged_files = _subjects(gate)
    for path in sorted((handover / "predictions").glob("*/candidate.parquet")):
        named = path.relative_to(handover).as_posix()
        if judged_files.get(named) != evidence.sha256_file(path):
            raise Failure("These are not the predictions that were judged.", file=path)
        target = folder / "predictions" / path.parent.name / path.name
        target.parent.mkdir(parents=True)
        shutil.copyfile(path, target)


def _register(
    loaded: config.Project,
    exported: exported_run.ExportedRun,
    run_folder: Path,
    kept: Path,
    tags: dict[str, str],
) -> tuple[Version, dict[str, Any]]:
    quiet()
    name = loaded.config.name

    def into(registry: Registry) -> tuple[Version, dict[str, Any]]:
        document: dict[str, Any] = {}

        def record(version: Version) -> Path:
            document.update(
                evidence.statement(
                    "publish",
                    "passed",
                    [evidence.check("registered", "pass", version.version)],
                    subjects=[evidence.subject("model", tags["mlops.model_digest"])],
                    previous=[kept / "gate.json"],
                    model=name,
                    version=version.version,
                    run_id=version.run_id,
                    registry=registry.kind,
                    aliases={CHALLENGER: version.version},
                )
            )
            folder = kept.with_name("record")
            evidence.write_json(folder / "publish.json", document)
            return folder

        version = registry.publish(
            name=name,
            run=exported,
            folder=run_folder,
            kept=kept,
            tags=tags,
            alias=CHALLENGER,
            record=record,
        )
        return version, document

    uri = tracking_uri(loaded.config.registry)
    if uri:
        return into(ServerRegistry(uri))

    def change(checkout: Checkout) -> tuple[Version, dict[str, Any]]:
        return into(EmbeddedRegistry(checkout))

    return branch_of(loaded).transaction(change, f"{name}: register a version as {CHALLENGER}")
