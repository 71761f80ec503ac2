"""The verdict of a workflow: receive, judge, write evidence and report, set the outputs."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence, github, report
from mlops_actions.config import Project
from mlops_actions.gate import handover
from mlops_actions.gate.command import announce, table
from mlops_actions.gate.decision import choose, judge
from mlops_actions.gate.handover import Handover, Unjudged
from mlops_actions.gate.smoke import judge_smoke

_WARNINGS = {
    "allow": ("Evidence counts without an attestation here (unattested: allow in mlops.yaml).",)
}
GREEN = {"blessed", "unchanged", "passed"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a workflow's gate says."""

    verdict: str
    checks: list[evidence.Check]
    predicate: dict[str, Any]
    stops: bool


def run(arguments: argparse.Namespace) -> int:
    """Decide on a handover; give 0 when the verdict is green, or a dry run."""
    loaded = config.load(arguments.config)
    choose(loaded)
    output: Path = arguments.output
    folder: Path = arguments.handover
    output.parent.mkdir(parents=True, exist_ok=True)
    work = output.parent.parent / "verdict-work"
    received: Handover | None = None
    try:
        received = handover.receive(
            loaded,
            folder,
            validate_digest=arguments.validate_digest,
            model_result=arguments.model_result,
            work=work,
        )
        outcome = _decide(loaded, received, work)
    except Unjudged as problem:
        outcome = _unjudged(loaded, problem.check)
    previous = [
        path
        for path in (folder / f"{stage}.json" for stage in ("validate", "train", "score"))
        if path.is_file()
    ]
    subjects = [
        evidence.subject(path.relative_to(folder).as_posix(), evidence.sha256_file(path))
        for path in sorted(folder.glob("predictions/*/candidate.parquet"))
    ] or [evidence.subject("config", evidence.sha256_file(arguments.config))]
    evidence.write_json(
        output,
        evidence.statement(
            "gate",
            outcome.verdict,
            outcome.checks,
            subjects=subjects,
            inputs=[evidence.subject("config", evidence.sha256_file(arguments.config))],
            previous=previous,
            **outcome.predicate,
        ),
    )
    _report(loaded, folder, output, received)
    github.set_output("digest", evidence.sha256_file(output))
    _set_outputs(loaded, outcome, received)
    return 1 if outcome.stops else 0


def _decide(loaded: Project, received: Handover, work: Path) -> Outcome:
    if received.trained.get("mode") == "smoke":
        verdict, checks, predicate = judge_smoke(loaded, received)
        return _plain(loaded, verdict, checks, received, **predicate)
    if received.trained["verdict"] == "unchanged":
        found = handover.unchanged(loaded, received)
        verdict = "unchanged" if found["status"] == "pass" else "inconclusive"
        return _plain(loaded, verdict, [found], received)
    sets = handover.inputs(loaded, received, work)
    judgement = judge(loaded, sets, baseline=received.baseline["baseline"])
    announce(judgement)
    github.info(table(judgement))
    predicate = judgement.predicate(loaded.config, received.baseline["baseline"])
    predicate["registry"] = received.baseline["registry"]
    return Outcome(
        verdict=judgement.verdict,
        checks=judgement.checks,
        predicate=predicate,
        stops=judgement.stops,
    )


def _plain(
    loaded: Project,
    verdict: str,
    checks: list[evidence.Check],
    received: Handover | None,
    **predicate: Any,
) -> Outcome:
    baseline = received.baseline["baseline"] if received else None
    bad = [item for item in checks if item["status"] in {"fail", "inconclusive"}]
    reasons = [item.get("message") or item["name"] for item in bad]
    stops = verdict not in GREEN
    if stops:
        for reason in reasons:
            github.error(reason)
    return Outcome(
        verdict=verdict,
        checks=checks,
        predicate={
            "model": loaded.config.name,
            "task": loaded.config.task,
            "baseline": baseline,
            "bootstrap": False,
            "gated": True,
            "reasons": reasons or [item["message"] for item in checks if "message" in item],
            "evaluation": {},
            "shared_evaluation": loaded.config.data.shared_evaluation,
            "metrics": [],
            "slices": [],
            "policy": {},
            "warnings": [],
            **predicate,
        },
        stops=stops,
    )


def _unjudged(loaded: Project, check: evidence.Check) -> Outcome:
    verdict = "rejected" if check["status"] == "fail" else "inconclusive"
    return _plain(loaded, verdict, [check], None)


def _report(loaded: Project, folder: Path, output: Path, received: Handover | None) -> None:
    written = report.write(
        folder,
        output.parent,
        gate=output,
        baseline=received.baseline_folder / "evidence" if received else None,
        name=loaded.config.name,
        sensitive=loaded.config.sensitive,
        warnings=_WARNINGS.get(loaded.config.unattested, ()),
    )
    github.add_summary(
        report.comment(
            written.markdown.read_text(encoding="utf-8"), limit=900_000, link=github.event().run_url
        )
    )


def _set_outputs(loaded: Project, outcome: Outcome, received: Handover | None) -> None:
    publish = (
        outcome.verdict == "blessed"
        and outcome.predicate.get("gated") is not False
        and github.event().on_default_branch
    )
    github.set_output("verdict", outcome.verdict)
    github.set_output("publish", "true" if publish else "false")
    github.set_output("unattested", loaded.config.unattested)
    github.set_output("baseline-version", (received.version if received else None) or "")
    github.set_output("report-artifact", f"mlops-{loaded.config.name}-report")
    if outcome.verdict == "blessed" and not publish:
        github.info("Not registered: only a blessed model on the default branch is.")
