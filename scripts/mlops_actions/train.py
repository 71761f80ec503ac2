"""Run the training command and export the run it logged.

The command runs in the project environment with live output and a time limit. It logs to an
MLflow store of its own (MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME are set); the run that it
makes there is exported as JSON and files, which nothing with rights ever opens as a database.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlops_actions import config, evidence, github, pipeline, project
from mlops_actions import smoke as smoke_run
from mlops_actions.config import Project, parse_duration
from mlops_actions.errors import Failure
from mlops_actions.registry.baseline import DOCUMENT as BASELINE
from mlops_actions.scope import training_mode
from mlops_actions.tracked_run import Store, write_evidence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml.")
    parser.add_argument(
        "--handover", type=Path, required=True, help="Folder with validate's files; gets ours."
    )
    parser.add_argument(
        "--baseline", type=Path, help="Folder that `registry fetch` wrote (default: none)."
    )
    parser.add_argument(
        "--force",
        choices=("true", "false"),
        default="false",
        help="Train although the registry has a model of this very pipeline (default: false).",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train; give 0 when a model was exported or there is nothing new to train."""
    loaded = config.load(arguments.config)
    force = github.boolean("force", arguments.force)
    handover: Path = arguments.handover
    data = evidence.read_json(handover / "data.json")
    environment = project.prepare(loaded)
    mode = training_mode(loaded)
    base: dict[str, Any] = {
        "mode": mode,
        "command": loaded.config.train.command,
        "pipeline_digest": pipeline.digest(loaded, data, environment.python_version),
        "environment": {"lock": environment.digest, "python": environment.python_version},
    }
    if mode == "smoke":
        return smoke_run.train(loaded, environment, handover, base)
    known = _same_pipeline(arguments.baseline, base["pipeline_digest"])
    if known and not force:
        github.info(f"Nothing to train: version {known} was made from this very pipeline.")
        write_evidence(handover, "unchanged", [], **base, unchanged_version=known)
        github.set_output("outcome", "unchanged")
        return 0
    try:
        facts = _train(loaded, environment, handover, data)
    except Failure as problem:
        message = evidence.check("training", "fail", message=problem.message)
        write_evidence(handover, "failed", [message], **base)
        github.set_output("outcome", "failed")
        raise
    checks = [
        evidence.check("training", "pass", observed=round(facts["seconds"], 1)),
        *_after(loaded, environment, data),
    ]
    failed = [item for item in checks if item["status"] == "fail"]
    write_evidence(handover, "failed" if failed else "passed", checks, **base, **facts)
    github.set_output("outcome", "failed" if failed else "trained")
    for item in failed:
        github.error(item.get("message", item["name"]))
    return 1 if failed else 0


def _same_pipeline(folder: Path | None, digest: str) -> str | None:
    if folder is None or not (folder / BASELINE).is_file():
        return None
    baseline = evidence.read_json(folder / BASELINE)
    aliases = baseline.get("aliases", {})
    for alias in ("champion", "challenger"):
        version = aliases.get(alias)
        tags = baseline.get("versions", {}).get(version, {}) if version else {}
        if tags.get("mlops.pipeline_digest") == digest:
            return str(version)
    return None


def _train(
    loaded: Project, environment: project.Environment, handover: Path, data: dict[str, Any]
) -> dict[str, Any]:
    settings = loaded.config.train
    limit = parse_duration(settings.timeout).total_seconds()
    with tempfile.TemporaryDirectory(prefix="mlops-train-") as scratch:
        made = Store(environment, loaded.folder, Path(scratch), loaded.config.name)
        with made as store, store.failing(handover / "run"):
            seconds = store.run(settings.command, "Training", limit)
            missing = store.export(handover / "run")
            if missing and settings.stage:
                # A current dvc.lock says that somebody trained this, not that we have the model.
                github.info(f"The command {missing}: forcing the stage {settings.stage}.")
                forced = ["dvc", "repro", "--force", "--single-item", settings.stage]
                seconds += store.run(forced, "Training", limit - seconds)
                seconds += store.run(settings.command, "Training", limit - seconds)
                missing = store.export(handover / "run")
            if missing:
                advice = "" if settings.stage else " Set train.stage to the stage that logs it."
                raise Failure(f"The command {settings.command!r} {missing}.{advice}")
    run = evidence.read_json(handover / "run" / "run.json")
    return {
        "seconds": seconds,
        "run_id": run["run_id"],
        "params": run["params"],
        "data_version": pipeline.dvc_versions(loaded.folder),
        "training_data": data["training"]["digest"],
    }


def _after(
    loaded: Project, environment: project.Environment, data: dict[str, Any]
) -> list[evidence.Check]:
    checks = [data_untouched(loaded, data)]
    settings = loaded.config.train
    if settings.dvc_lock != "ignore" and pipeline.lock_changed(loaded.folder):
        message = _lock_message(loaded.folder)
        if settings.dvc_lock == "fail":
            checks.append(evidence.check("dvc_lock", "fail", "changed", "as committed", message))
        else:
            github.info(message)
            checks.append(evidence.check("dvc_lock", "skipped", "changed", None, message))
    if settings.dvc_push and github.event().on_default_branch:
        checks.append(_push(loaded, environment, checks))
    return checks


def _lock_message(folder: Path) -> str:
    """Say what differs in ``dvc.lock`` from the commit, and why that may be."""
    advice = "Run dvc repro, then commit dvc.lock. It is never committed from here."
    try:
        committed = pipeline.git(folder, "show", "HEAD:./dvc.lock")
    except Failure:
        return f"dvc.lock is not in the commit. {advice}"
    try:
        before, after = _recorded(committed), _recorded((folder / "dvc.lock").read_text("utf-8"))
    except (OSError, YAMLError, AttributeError, KeyError, TypeError):
        before = after = {}, {}  # That it differs is all that can be said.
    inputs, outputs = (
        [name for name in sorted(one | other) if one.get(name) != other.get(name)]
        for one, other in zip(before, after, strict=True)
    )
    if inputs or not outputs:
        where = f" in {', '.join(inputs + outputs)}" if inputs else ""
        return (
            f"dvc.lock differs from the commit{where}: it was not committed after the last change. "
            f"{advice}"
        )
    return (
        f"dvc.lock differs from the commit in {', '.join(outputs)}, made here from the very inputs "
        "that the commit names: its bytes are others on each run, or on each machine. Make them "
        "the same, or set train.dvc_lock to ignore. If dvc.lock was committed without dvc repro: "
        f"{advice[0].lower()}{advice[1:]}"
    )


def _recorded(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what a text of ``dvc.lock`` records of inputs and of outputs, by path or description."""
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    for name, stage in YAML(typ="safe").load(text)["stages"].items():
        inputs[f"the command of {name}"] = stage["cmd"]
        for file, values in stage.get("params", {}).items():
            inputs[f"the parameters of {name} in {file}"] = values
        inputs |= {item["path"]: item for item in stage.get("deps", [])}
        outputs |= {item["path"]: item for item in stage.get("outs", [])}
    # What one stage makes and the next one reads is an output.
    return {name: item for name, item in inputs.items() if name not in outputs}, outputs


def _push(
    loaded: Project, environment: project.Environment, before: list[evidence.Check]
) -> evidence.Check:
    if any(item["status"] == "fail" for item in before):
        return evidence.check("dvc_push", "skipped", message="another check failed")
    try:
        project.run_command(
            environment, ["dvc", "push"], cwd=loaded.folder, label="Push", timeout=3600
        )
    except project.CommandFailed as problem:
        advice = "Check the remote's credentials: the secret ENV hands KEY=VALUE lines to it."
        return evidence.check("dvc_push", "fail", message=f"{problem.message} {advice}")
    return evidence.check("dvc_push", "pass")


def data_untouched(loaded: Project, data: dict[str, Any]) -> evidence.Check:
    """Check that training left the files alone whose digests were fixed before it."""
    parts = [data["training"], *data["evaluation"].values()]
    changed = sorted(
        {
            file["path"]
            for part in parts
            for file in part["files"]
            if not (loaded.folder / file["path"]).is_file()
            or evidence.sha256_file(loaded.folder / file["path"]) != file["sha256"]
        }
    )
    if not changed:
        return evidence.check("data_untouched", "pass")
    message = (
        f"Training changed {', '.join(changed)}, fixed before it. Make the data in data.command, "
        "the same on every run."
    )
    return evidence.check("data_untouched", "fail", changed, [], message)
