"""The gate of a workflow: from what the job ``model`` handed over to a verdict that stands.

Only our code runs here. What user code could have touched is believed where a digest that was
fixed before it ran says so; else it is the author's word, as the threat model tells.
"""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_actions import evidence, exported_run, github, pipeline
from mlops_actions.config import Project
from mlops_actions.errors import Failure
from mlops_actions.gate.identity import Overlap
from mlops_actions.gate.predictions import SetInput
from mlops_actions.registry import branch_of
from mlops_actions.registry.baseline import fetch
from mlops_actions.registry.store import CHALLENGER
from mlops_actions.scope import needed_sets, training_mode
from mlops_actions.score import kept_predictions, stored_predictions
from mlops_actions.validate import manifest


class Unjudged(Exception):
    """No comparison is possible; ``check`` says why and decides the verdict."""

    def __init__(self, check: evidence.Check) -> None:
        super().__init__(check.get("message"))
        self.check = check


@dataclasses.dataclass(frozen=True, kw_only=True)
class Handover:
    """A handover whose files are the ones that were fixed before training."""

    folder: Path
    data: dict[str, Any]
    trained: dict[str, Any]
    baseline: dict[str, Any]
    baseline_folder: Path

    @property
    def version(self) -> str | None:
        """The baseline's version, if there is one."""
        found = self.baseline.get("baseline")
        return str(found["version"]) if found else None

    @property
    def cutoffs(self) -> tuple[datetime.datetime, ...]:
        """The training cut-offs of both models, where they have one."""
        found = [self.data["training"].get("cutoff")]
        if self.baseline.get("baseline"):
            found.append(self.baseline["baseline"].get("cutoff"))
        return tuple(datetime.datetime.fromisoformat(text) for text in found if text)


def _stop(name: str, status: evidence.Status, message: str) -> Unjudged:
    return Unjudged(evidence.check(name, status, message=message))


def _out_of_reach(name: str, message: str) -> Unjudged:
    restricted = github.event().restricted
    if restricted:
        message += f" Secrets are withheld: {restricted}. The report says what a maintainer does."
    return _stop(name, "inconclusive", message)


def receive(
    loaded: Project, folder: Path, *, validate_digest: str, model_result: str, work: Path
) -> Handover:
    """Check a handover up to the point where predictions can be compared.

    Raises :class:`Unjudged` with the check that ends it: ``fail`` where data or model were shown
    to be bad, else ``inconclusive``.
    """
    if not (folder / "validate.json").is_file():
        raise _out_of_reach(
            "handover",
            f"The job model handed nothing over (its result: {model_result or 'unknown'}).",
        )
    try:
        exported_run.check_files(folder)
        data = _fixed_data(folder, validate_digest)
    except Failure as problem:
        raise _stop("handover", "inconclusive", str(problem)) from None
    baseline_folder = work / "baseline"
    baseline = fetch(loaded, baseline_folder, branch_of(loaded), model=False)
    if baseline["problem"]:
        raise _out_of_reach("baseline", f"The champion is out of reach: {baseline['problem']}.")
    trained = _training(loaded, folder)
    missing = [name for name in needed_sets(loaded) if name not in data["evaluation"]]
    if missing:
        raise _stop(
            "evaluation", "inconclusive", f"The evaluation set {missing[0]} was not handed over."
        )
    if model_result not in {"success", ""}:
        raise _stop("handover", "inconclusive", f"The job model ended with {model_result}.")
    if trained["verdict"] != "unchanged" and not (folder / "score.json").is_file():
        raise _stop("scoring", "inconclusive", "Scoring did not finish.")
    return Handover(
        folder=folder,
        data=data,
        trained=trained,
        baseline=baseline,
        baseline_folder=baseline_folder,
    )


def _fixed_data(folder: Path, validate_digest: str) -> dict[str, Any]:
    path = folder / "validate.json"
    if not validate_digest or evidence.sha256_file(path) != validate_digest:
        raise Failure("validate.json is not the one that was written before training.")
    predicate = evidence.read(path, "validate")
    if predicate["verdict"] != "passed":
        failing = [item["name"] for item in predicate["checks"] if item["status"] == "fail"]
        if failing:
            listed = ", ".join(dict.fromkeys(failing))
            raise _stop("data", "fail", f"The data did not pass validation: {listed}.")
        said = [item["message"] for item in predicate["checks"] if "message" in item]
        raise _out_of_reach("data", "There is no data: " + (said[0] if said else "no reason given"))
    for item in evidence.read_json(path)["subject"]:
        part = folder / item["name"]
        if part.suffix in {".json", ".parquet"} and (
            not part.resolve().is_relative_to(folder.resolve())
            or not part.is_file()
            or evidence.sha256_file(part) != item["digest"]["sha256"]
        ):
            raise Failure(f"{item['name']} is not the one that was fixed before training.")
    named = {item["name"] for item in evidence.read_json(path)["subject"]}
    data = manifest.read(folder / "data.json")
    keys = {part["keys"]["file"] for part in data["evaluation"].values()}
    if not {"data.json", *keys} <= named:
        raise Failure("validate.json does not name the data it fixed.")
    return data


def _training(loaded: Project, folder: Path) -> dict[str, Any]:
    path = folder / "train.json"
    if not path.is_file():
        raise _stop("training", "inconclusive", "Training did not finish.")
    try:
        trained = evidence.read(path, "train")
    except Failure as problem:
        raise _stop("training", "inconclusive", str(problem)) from None
    if trained["verdict"] == "failed":
        said = [item.get("message") for item in trained["checks"] if item["status"] == "fail"]
        raise _stop("training", "inconclusive", str(said[0] if said else "Training failed."))
    if trained.get("mode") != training_mode(loaded):
        raise _stop(
            "training", "inconclusive", "The model was not trained the way this event asks."
        )
    return trained


def unchanged(loaded: Project, received: Handover) -> evidence.Check:
    """Check the claim that there was nothing new to train, on what we can see ourselves."""
    digest = pipeline.digest_again(loaded, received.data, received.trained)
    for alias in ("champion", "challenger"):
        version = received.baseline["aliases"].get(alias)
        tags = received.baseline["versions"].get(version, {}) if version else {}
        if tags.get("mlops.pipeline_digest") == digest:
            return evidence.check(
                "pipeline",
                "pass",
                digest,
                digest,
                f"Version {version} ({alias}) was made from this very pipeline.",
            )
    return evidence.check(
        "pipeline",
        "inconclusive",
        digest,
        None,
        "Training was skipped as unchanged, but no registered version has this pipeline.",
    )


def inputs(loaded: Project, received: Handover, work: Path) -> dict[str, SetInput]:
    """Give the files of each evaluation set that decides here.

    The champion's predictions are the registry's own while the evaluation set is the same; else
    those that the job ``model`` made with the version that is the baseline now.
    """
    sets: dict[str, SetInput] = {}
    for name in needed_sets(loaded):
        part = received.data["evaluation"][name]
        candidate = received.folder / "predictions" / name / "candidate.parquet"
        if not candidate.is_file():
            raise _stop("predictions", "inconclusive", f"The {name} set was not scored.")
        sets[name] = SetInput(
            candidate=candidate,
            champion=_champion(received, name, part, work),
            anchor=_anchor(received, name, part),
            evaluation=received.folder / part["keys"]["file"],
            cutoffs=received.cutoffs if name == "release" else (),
            digest=part["digest"],
        )
    return sets


def _scored(received: Handover, name: str) -> Mapping[str, Any] | None:
    """Give what the job ``model`` says of scoring the baseline."""
    scored = evidence.read(received.folder / "score.json", "score")
    return next(
        (item for item in scored["checks"] if item["name"] == f"score:{name}:champion"), None
    )


def _champion(received: Handover, name: str, part: dict[str, Any], work: Path) -> Path | None:
    if received.version is None:
        return None
    kept = stored_predictions(received.baseline_folder, name, part["digest"])
    if kept:
        target = work / f"champion-{name}.parquet"
        shutil.copyfile(kept, target)
        return target
    found = _scored(received, name)
    version = (found or {}).get("version")
    if version != received.version:
        raise _stop(
            "baseline",
            "inconclusive",
            f"The baseline is version {received.version} by now; this run scored "
            f"{f'version {version}' if version else 'none'}. Run it again.",
        )
    path = received.folder / "predictions" / name / "champion.parquet"
    if found is None or found["status"] != "pass" or not path.is_file():
        reason = (found or {}).get("message", "its predictions are missing")
        raise _stop("baseline", "inconclusive", f"Version {version} could not be scored: {reason}")
    return path


def _anchor(received: Handover, name: str, part: dict[str, Any]) -> Path | None:
    """Give the best earlier model's predictions on this very set, where they are kept."""
    anchor = received.baseline["anchors"].get(name)
    if anchor is None or anchor["problem"]:
        return None
    folder = received.baseline_folder / "anchors" / anchor["version"]
    return kept_predictions(folder, name, part["digest"])


def challengers(
    received: Handover, sets: Mapping[str, SetInput]
) -> tuple[str, dict[str, SetInput]] | None:
    """Give the newest version, and the sets with its predictions where a champion's would stand.

    ``None`` where it is the baseline itself, or was scored on other sets.
    """
    folder = received.baseline_folder / CHALLENGER
    against = {}
    for name, one in sets.items():
        kept = kept_predictions(folder, name, received.data["evaluation"][name]["digest"])
        if kept is None:
            return None
        against[name] = dataclasses.replace(one, champion=kept, anchor=None)
    return received.baseline["aliases"][CHALLENGER], against


def scored_on(received: Handover, sets: Mapping[str, SetInput]) -> dict[str, str]:
    """Give the digest of each set that the baseline's predictions are of."""
    found = {}
    for name in sets:
        digest = received.data["evaluation"][name]["digest"]
        if stored_predictions(received.baseline_folder, name, digest):
            found[name] = digest
            continue
        scored = _scored(received, name)
        found[name] = str(scored.get("digest", "")) if scored else ""
    return found


def overlaps(received: Handover, sets: Mapping[str, SetInput]) -> dict[str, Overlap]:
    """Give what each set shares with the training data, as validate counted it before training."""
    found = {}
    for name in sets:
        part = received.data["evaluation"][name]
        counted = part.get("overlap") or {}
        if "keys" not in counted or "content" not in counted:
            raise _stop(
                "overlap", "inconclusive", f"What {name} shares with training was not counted."
            )
        found[name] = Overlap(
            rows=part["rows"],
            keys=counted["keys"],
            content=counted["content"],
            ordinary=counted.get("ordinary"),
        )
    return found


def anchor_checks(received: Handover) -> list[evidence.Check]:
    """Say which anchors could not be had: a rule that is not asked is no rule that holds."""
    return [
        evidence.check(
            f"{name}: anchor",
            "inconclusive",
            None,
            anchor["version"],
            f"The best earlier model, version {anchor['version']}, is out of reach: "
            f"{anchor['problem']}",
            set=name,
        )
        for name, anchor in sorted(received.baseline["anchors"].items())
        if anchor["problem"]
    ]
