"""Predict the evaluation sets with the candidate and the champion, on the very same rows.

Runs the user's models in the project environment. A champion's predictions that were kept with
its version are used again while the evaluation set is the same.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_actions import clock, config, evidence, github, probe, project
from mlops_actions.config import Project
from mlops_actions.errors import Failure
from mlops_actions.registry.baseline import DOCUMENT as BASELINE
from mlops_actions.scope import needed_sets

GOLDEN = "golden.json"
OF_BASE_BRANCH = "base.parquet"  # The predictions of a smoke run's other side.
_TIMEOUT = 3600  # Seconds for one model on its evaluation sets.


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
    model, golden = handover / "run" / "model", handover / GOLDEN
    golden.unlink(missing_ok=True)
    evaluation = {
        name: {**part, "ids": str((handover / part["keys"]["file"]).resolve())}
        for name, part in data["evaluation"].items()
    }
    with github.group(f"Scoring the candidate: {_rows(evaluation)}"):
        outputs = {folder / name / "candidate.parquet": part for name, part in evaluation.items()}
        predict(loaded, environment, model, outputs, golden=golden)
    checks = [
        evidence.check(f"score:{name}:candidate", "pass", part["rows"])
        for name, part in evaluation.items()
    ]
    deciding: dict[str, Any] = {
        name: evaluation[name] for name in needed_sets(loaded) if name in evaluation
    }
    with github.group(f"Scoring the champion: {_rows(deciding)}"):
        checks += _champion(loaded, environment, arguments.baseline, deciding, folder)
    if not golden.is_file():
        github.info("No golden rows: the model has no input example that it predicts.")
    part = next(iter(evaluation.values()))  # The one that decides here.
    champion = _champions_model(loaded, environment, arguments.baseline)
    checks += _probe(loaded, environment, handover, part, champion)
    checks += _clock(loaded, {"candidate": (environment, model)}, champion, part, handover)
    evidence.write_json(
        handover / "score.json",
        evidence.statement(
            "score",
            "passed",
            checks,
            subjects=[
                evidence.subject(path.relative_to(handover).as_posix(), evidence.sha256_file(path))
                for path in _made(handover)
            ],
            inputs=[evidence.subject("data.json", evidence.sha256_file(handover / "data.json"))],
            previous=[handover / "validate.json", handover / "train.json"],
        ),
    )
    return 0


def _rows(evaluation: dict[str, Any]) -> str:
    return ", ".join(f"{part['rows']} rows of {name}" for name, part in evaluation.items())


def _made(handover: Path) -> list[Path]:
    found = [*(handover / "predictions").rglob("*.parquet")]
    found += [handover / clock.DOCUMENT, handover / GOLDEN]
    found += (handover / probe.FOLDER).glob("*")
    return sorted(path for path in found if path.is_file())


def _champions_model(
    loaded: Project, environment: project.Environment, baseline: Path | None
) -> tuple[project.Environment, Path] | None:
    """Give the champion's model and an environment for it, where a rule runs it again."""
    gate = loaded.config.gate
    asked = gate.explanation is not None or gate.latency is not None
    if not asked or baseline is None or not (baseline / "model").is_dir():
        return None
    try:
        model = baseline / "model"
        return project.prepare_for_model(model, loaded, environment), model
    except Failure as problem:
        github.warning(f"The champion cannot be run again: {problem.message}")
        return None


def _probe(
    loaded: Project,
    environment: project.Environment,
    handover: Path,
    part: dict[str, Any],
    champion: tuple[project.Environment, Path] | None,
) -> list[evidence.Check]:
    """Ask the models about rows that were changed on purpose."""
    folder = handover / probe.FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    checks = []
    if probe.wanted(loaded):
        with github.group("Rows that are changed on purpose"):
            rows = {"files": [{"path": str(probe.write(loaded, part, folder).resolve())}]}
            asked = {"candidate": (environment, handover / "run" / "model")}
            if champion is not None and loaded.config.gate.explanation is not None:
                asked["champion"] = champion
            for side, (own, model) in asked.items():
                try:
                    predict(loaded, own, model, {folder / f"{side}.parquet": rows})
                except Failure as problem:
                    message = f"The {side} does not answer changed rows: {problem.message}"
                    github.warning(message)
                    checks.append(
                        evidence.check(f"score:probe:{side}", "inconclusive", message=message)
                    )
                else:
                    checks.append(evidence.check(f"score:probe:{side}", "pass"))
    tested = probe.run_tests(loaded, environment, handover / "run" / "model", folder)
    return checks if tested is None else [*checks, tested]


def _clock(
    loaded: Project,
    models: dict[str, tuple[project.Environment, Path]],
    champion: tuple[project.Environment, Path] | None,
    part: dict[str, Any],
    handover: Path,
) -> list[evidence.Check]:
    """Time the models in turns."""
    document = handover / clock.DOCUMENT
    document.unlink(missing_ok=True)
    if loaded.config.gate.latency is None:
        return []
    files = [str((loaded.folder / file["path"]).resolve()) for file in part["files"]]
    asked = models if champion is None else {**models, "champion": champion}
    with github.group("Timing, in turns"):
        try:
            found = clock.measure(loaded, asked, files)
        except Failure as problem:
            github.warning(problem.message)
            return [evidence.check("score:latency", "inconclusive", message=problem.message)]
    evidence.write_json(document, found)
    return [evidence.check("score:latency", "pass", len(found["candidate"]["row"]))]


def predict(
    loaded: Project,
    environment: project.Environment,
    model: Path,
    outputs: Mapping[Path, dict[str, Any]],
    *,
    golden: Path | None = None,
) -> None:
    """Load ``model`` once and write its predictions: each output, of a set of ``data.json``.

    A set may have ``ids``, a Parquet file of the same rows that holds the column of the ids.
    ``golden`` gets the model's input example with its predictions, where there is one: the image
    must repeat them.
    """
    project.ask_runner(
        environment,
        "score",
        cwd=loaded.folder,
        timeout=_TIMEOUT,
        sets=[
            {
                "files": [str((loaded.folder / file["path"]).resolve()) for file in part["files"]],
                "ids": part.get("ids"),
                "output": str(output.resolve()),
            }
            for output, part in outputs.items()
        ],
        golden=str(golden.resolve()) if golden else None,
        **project.model_request(loaded, model),
    )
    for output in outputs:
        if not output.is_file():
            raise Failure(f"Scoring ended without {output.name}: the project's code ended it.")


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
    evaluation: dict[str, Any],
    folder: Path,
) -> list[evidence.Check]:
    """Give the champion's predictions: those kept with it where they serve, else made now."""
    if baseline is None or not (baseline / BASELINE).is_file():
        return _skipped(evaluation, "no baseline was fetched")
    found = evidence.read_json(baseline / BASELINE).get("baseline")
    if found is None:
        return _skipped(evaluation, "there is no champion yet")
    version = found["version"]
    outputs, wrong = {}, None
    for name, part in evaluation.items():
        output = folder / name / "champion.parquet"
        kept = stored_predictions(baseline, name, part["digest"])
        if kept:
            shutil.copyfile(kept, output)
            github.info(f"Version {version} was scored on this {name} set before: used again.")
        else:
            outputs[output] = part
    if outputs:
        model = baseline / "model"
        try:
            own = project.prepare_for_model(model, loaded, environment)
            predict(loaded, own, model, outputs)
        except Failure as problem:
            github.warning(f"The {found['alias']}, version {version}, cannot be scored: {problem}")
            wrong = problem.message
    checks = []
    for name, part in evaluation.items():
        title, made = f"score:{name}:champion", folder / name / "champion.parquet" in outputs
        if wrong and made:
            checks.append(evidence.check(title, "inconclusive", message=wrong, version=version))
        else:
            more = {"reused": not made, "version": version, "digest": part["digest"]}
            checks.append(evidence.check(title, "pass", part["rows"], **more))
    return checks


def _skipped(evaluation: dict[str, Any], why: str) -> list[evidence.Check]:
    return [evidence.check(f"score:{name}:champion", "skipped", message=why) for name in evaluation]
