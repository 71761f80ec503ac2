"""A smoke run: a quick training on a sample, which looks for breakage and blesses nothing.

A sampled model is not compared with the champion, which saw all the data, but with the base
branch's code on the same sample and seed.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence, github, project
from mlops_actions.config import Project, Smoke, parse_duration
from mlops_actions.errors import Failure
from mlops_actions.pipeline import fetch_base, git
from mlops_actions.score import OF_BASE_BRANCH, predict
from mlops_actions.tracked_run import Store, write_evidence


def train(
    loaded: Project, environment: project.Environment, handover: Path, facts: dict[str, Any]
) -> int:
    """Train on a sample, here and on the base branch; give 0 when this side left a model."""
    settings = loaded.config.smoke
    assert settings is not None  # noqa: S101 - the configuration requires the section.
    facts |= {"command": settings.command, "sample": settings.sample, "seed": settings.seed}
    try:
        with tempfile.TemporaryDirectory(prefix="mlops-smoke-") as scratch:
            made = Store(environment, loaded.folder, Path(scratch), loaded.config.name)
            with made as store, store.failing(handover / "run"):
                facts["seconds"] = store.run(
                    settings.command, "Smoke", _limit(loaded), _variables(settings)
                )
                if missing := store.export(handover / "run"):
                    raise Failure(
                        f"The command {settings.command!r} {missing}. It must force its own "
                        "stages: DVC does not see that MLOPS_SAMPLE changed."
                    )
    except Failure as problem:
        failed = evidence.check("training", "fail", message=problem.message)
        write_evidence(handover, "failed", [failed], **facts)
        github.set_output("outcome", "failed")
        raise
    checks = [evidence.check("training", "pass", observed=round(facts["seconds"], 1))]
    checks.append(_base_branch(loaded, settings, handover))
    write_evidence(handover, "passed", checks, **facts)
    github.set_output("outcome", "trained")
    return 0


def _limit(loaded: Project) -> float:
    return parse_duration(loaded.config.train.timeout).total_seconds()


def _variables(settings: Smoke) -> dict[str, str]:
    return {"MLOPS_SAMPLE": repr(settings.sample), "MLOPS_SEED": str(settings.seed)}


def _base_branch(loaded: Project, settings: Smoke, handover: Path) -> evidence.Check:
    """Train the base branch's code in a worktree and environment of its own, and score it."""
    name = "base_branch"
    if settings.max_loss is None:
        return evidence.check(name, "skipped", message="smoke.max_loss is not set")
    top = Path(git(loaded.folder, "rev-parse", "--show-toplevel").strip())
    relative = loaded.folder.resolve().relative_to(top.resolve())
    with tempfile.TemporaryDirectory(prefix="mlops-base-") as scratch:
        worktree = Path(scratch) / "worktree"
        try:
            commit = fetch_base(top)
            git(top, "worktree", "add", "--quiet", "--detach", str(worktree), commit)
            with github.group(f"The base branch, {commit[:12]}, on the same sample"):
                return _train_base(
                    worktree / relative / loaded.file.name, settings, handover, Path(scratch), name
                )
        except Failure as problem:
            message = f"The base branch cannot be trained: {problem.message}"
            github.warning(message)
            return evidence.check(name, "inconclusive", message=message)
        finally:
            shutil.rmtree(worktree, ignore_errors=True)
            git(top, "worktree", "prune")


def _train_base(
    file: Path, settings: Smoke, handover: Path, scratch: Path, name: str
) -> evidence.Check:
    from mlops_actions.validate import manifest, open_set

    base = config.load_elsewhere(file)
    if base.config.smoke is None:
        return evidence.check(
            name, "skipped", message="the base branch has no smoke command: floor and contract only"
        )
    environment = project.prepare(base)
    project.pull_data(base, environment)
    project.run_data_command(base, environment, _limit(base))
    with Store(environment, base.folder, scratch / "store", base.config.name) as store:
        # The sample and the seed are this side's: the same for both.
        command, label = base.config.smoke.command, "Smoke of the base branch"
        store.run(command, label, _limit(base), _variables(settings))
        if missing := store.export(scratch / "run"):
            raise Failure(f"its smoke command {missing}.")
    outputs = {}
    for evaluation in evidence.read_json(handover / "data.json")["evaluation"]:
        path = base.config.data.evaluation_path(evaluation)
        if path is None:
            continue
        opened = open_set(base, path, scratch / evaluation)
        ids = scratch / f"{evaluation}.parquet"
        manifest.write_keys(opened, [base.config.id], ids)
        outputs[handover / "predictions" / evaluation / OF_BASE_BRANCH] = {
            "files": [{"path": file} for file in opened.names],
            "ids": str(ids),
        }
    predict(base, environment, scratch / "run" / "model", outputs)
    return evidence.check(name, "pass")
