"""Predict the evaluation sets with the candidate and the champion, on the very same rows.

Runs the user's models in the project environment. A champion's predictions that were kept with
its version are used again while the evaluation set is the same.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence, github, project
from mlops_actions.config import Project
from mlops_actions.errors import Failure
from mlops_actions.registry.baseline import DOCUMENT as BASELINE

_TIMEOUT = 3600  # Seconds for one model on one evaluation set.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml.")
    parser.add_argument(
        "--handover", type=Path, required=True, help="Folder with train's files; gets ours."
    )
    parser.add_argument(
        "--baseline", type=Path, help="Folder that `registry fetch` wrote (default: none)."
    )


def run(arguments: argparse.Namespace) -> int:
    """Score both models; the champion's failure is recorded, not raised."""
    loaded = config.load(arguments.config)
    handover: Path = arguments.handover
    trained = evidence.read(handover / "train.json", "train")
    if trained["verdict"] == "unchanged":
        github.info("Nothing to score: the model is unchanged.")
        return 0
    environment = project.prepare(loaded)
    data = evidence.read_json(handover / "data.json")
    folder = handover / "predictions"
    for earlier in folder.glob("*/c*.parquet"):
        earlier.unlink()  # Ours; the base branch's, of a smoke run, stay.
    checks = []
    for name, part in data["evaluation"].items():
        with github.group(f"Scoring the {name} set: {part['rows']} rows"):
            candidate = folder / name / "candidate.parquet"
            predict(loaded, environment, handover / "run" / "model", part, candidate)
            checks.append(evidence.check(f"score:{name}:candidate", "pass", part["rows"]))
            found = _champion(loaded, environment, arguments.baseline, name, part, folder)
            checks.append(found)
    evidence.write_json(
        handover / "score.json",
        evidence.statement(
            "score",
            "passed",
            checks,
            subjects=[
                evidence.subject(path.relative_to(handover).as_posix(), evidence.sha256_file(path))
                for path in sorted(folder.rglob("*.parquet"))
            ],
            inputs=[evidence.subject("data.json", evidence.sha256_file(handover / "data.json"))],
            previous=[handover / "validate.json", handover / "train.json"],
        ),
    )
    return 0


def predict(
    loaded: Project,
    environment: project.Environment,
    model: Path,
    part: dict[str, Any],
    output: Path,
    *,
    folder: Path | None = None,
) -> None:
    """Write the predictions of ``model`` on an evaluation set of ``data.json``.

    ``folder`` is where the files of the set lie; by default the project's.
    """
    settings = loaded.config
    base = folder or loaded.folder
    project.ask_runner(
        environment,
        "score",
        cwd=base,
        timeout=_TIMEOUT,
        model=str(model.resolve()),
        files=[str((base / file["path"]).resolve()) for file in part["files"]],
        output=str(output.resolve()),
        id=settings.id,
        labels=settings.labels,
        function=settings.score,
        not_features=[name for name in (settings.id, settings.target, settings.weight) if name],
    )


def stored_predictions(baseline: Path, name: str, digest: str) -> Path | None:
    """The predictions kept with the baseline's version, if they are of this evaluation set."""
    return kept_predictions(baseline / "evidence", name, digest)


def kept_predictions(kept: Path, name: str, digest: str) -> Path | None:
    """The predictions in a version's evidence, if they are of this evaluation set."""
    manifest = kept / "data.json"
    if not manifest.is_file():
        return None
    evaluation: dict[str, Any] = evidence.read_json(manifest).get("evaluation", {})
    for stored, part in {name: evaluation.get(name), **evaluation}.items():
        path: Path = kept / "predictions" / stored / "candidate.parquet"
        if part and part.get("digest") == digest and path.is_file():
            return path
    return None


def _champion(
    loaded: Project,
    environment: project.Environment,
    baseline: Path | None,
    name: str,
    part: dict[str, Any],
    folder: Path,
) -> evidence.Check:
    title = f"score:{name}:champion"
    if baseline is None or not (baseline / BASELINE).is_file():
        return evidence.check(title, "skipped", message="no baseline was fetched")
    found = evidence.read_json(baseline / BASELINE).get("baseline")
    if found is None:
        return evidence.check(title, "skipped", message="there is no champion yet")
    output = folder / name / "champion.parquet"
    kept = stored_predictions(baseline, name, part["digest"])
    version = found["version"]

    def scored(*, reused: bool) -> evidence.Check:
        more = {"reused": reused, "version": version, "digest": part["digest"]}
        return evidence.check(title, "pass", part["rows"], **more)

    if kept:
        shutil.copyfile(kept, output)
        github.info(f"Version {version} was scored on this very set before: used again.")
        return scored(reused=True)
    model = baseline / "model"
    try:
        own = project.prepare_for_model(model, loaded, environment)
        predict(loaded, own, model, part, output)
    except Failure as problem:
        github.warning(f"The {found['alias']}, version {version}, cannot be scored: {problem}")
        return evidence.check(title, "inconclusive", message=problem.message, version=version)
    return scored(reused=False)
