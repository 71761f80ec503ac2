"""The verdict of a workflow: receive, judge, write evidence and report, set the outputs."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops_actions import clock, config, evidence, github, probe, report
from mlops_actions.config import Project
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.gate import (
    approval,
    behaviour,
    explanation,
    handover,
    identity,
    latency,
    verdicts,
)
from mlops_actions.gate.decision import (
    Extra,
    Judgement,
    choose,
    decide,
    expected_slices,
    read,
    verdict_of,
)
from mlops_actions.gate.handover import Handover, Unjudged
from mlops_actions.gate.override import consider, overruled
from mlops_actions.gate.predictions import PairedSet, SetInput
from mlops_actions.gate.printed import announce, table
from mlops_actions.gate.smoke import judge_smoke
from mlops_actions.registry import branch_of

RELEASE = "release"
_ATTEMPTS = 4
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
    try:
        return _run(arguments)
    except Exception as problem:
        _no_verdict(arguments, problem)
        raise


def _no_verdict(arguments: argparse.Namespace, problem: Exception) -> None:
    """Leave a report that says so: the verdict of an earlier commit must not stand."""
    name, message = str(arguments.config), str(problem)
    with contextlib.suppress(ConfigurationError):
        name = config.load(arguments.config).config.name
        github.set_output("report-artifact", f"mlops-{name}-report")
    if not isinstance(problem, Failure):
        message = f"The gate broke with {type(problem).__name__}: a bug of ours. The log has more."
    found = evidence.check("verdict", "inconclusive", message=message)
    document = evidence.statement("gate", "inconclusive", [found], subjects=[], gated=True)
    evidence.write_json(arguments.output, document)
    github.set_output("verdict", "inconclusive")
    github.set_output("publish", "false")
    # Of this document alone: which columns are sensitive is not known here.
    _write_report(arguments.output.parent, arguments.output, name=name)


def _run(arguments: argparse.Namespace) -> int:
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
    approved = _policy(loaded, received)
    if received.trained.get("mode") == "smoke":
        verdict, checks, predicate = judge_smoke(loaded, received)
        if _unapproved(approved.checks):
            verdict = "failed"
        checks += approved.checks
        return _plain(loaded, verdict, checks, received, **predicate, **approved.sections)
    if received.trained["verdict"] == "unchanged":
        checks = [handover.unchanged(loaded, received), *approved.checks]
        verdict = verdict_of(checks)
        verdict = "unchanged" if verdict == "blessed" else verdict
        return _plain(loaded, verdict, checks, received, **approved.sections)
    sets = handover.inputs(loaded, received, work)
    policy, paired = read(loaded, sets)
    extra = approved
    extra.checks.extend(_identity(received, sets, paired))
    extra.checks.extend(handover.anchor_checks(received))
    extra.warnings.extend(_history(received))
    extra.add(behaviour.judge(loaded.config, received.folder / probe.FOLDER))
    extra.add(
        latency.judge(
            loaded.config,
            received.folder / clock.DOCUMENT,
            champion=received.version is not None,
        )
    )
    first = received.data["evaluation"][next(iter(sets))]["keys"]["file"]
    extra.add(explanation.judge(policy, received.folder / probe.FOLDER, received.folder / first))
    same = _same_as_challenger(loaded, received, sets)
    if (
        same is not None
        and all(item["status"] != "fail" for item in extra.checks)
        and not _unapproved(extra.checks)
    ):
        return _plain(loaded, "unchanged", [*extra.checks, same], received, **extra.sections)
    release = received.data["evaluation"]["release"]["digest"] if RELEASE in sets else None
    for attempt in range(_ATTEMPTS):
        earlier = None if release is None else _earlier(loaded, release)
        judgement = decide(
            policy, paired, baseline=_baseline(loaded, received), earlier=earlier, extra=extra
        )
        judgement.sections["anchor"] = _next_anchor(judgement, received)
        judgement = _overrule(loaded, judgement, received)
        if release is None or earlier is None:
            break
        try:
            judgement = _record(loaded, judgement, release, earlier)
        except verdicts.Moved as moved:  # Judged at the wrong level: once more, at the right one.
            if attempt + 1 == _ATTEMPTS:
                judgement = _unrecorded(judgement, moved)
            continue
        break
    announce(judgement)
    github.info(table(judgement))
    predicate = judgement.predicate(loaded.config, received.baseline["baseline"])
    predicate["registry"] = received.baseline["registry"]
    return Outcome(
        verdict=judgement.verdict,
        checks=judgement.checks,
        predicate=predicate,
        # A pull request cannot switch off by itself what it needs approval for.
        stops=judgement.stops or _unapproved(judgement.checks),
    )


# --- What is asked besides the metrics ---------------------------------------------------------


def _policy(loaded: Project, received: Handover) -> Extra:
    """Compare the policy with the one in force, on a pull request."""
    registered = received.baseline_folder / "evidence" / "data.json"
    rows = {name: part["rows"] for name, part in received.data["evaluation"].items()}
    found = approval.compare(
        loaded,
        registered=evidence.read_json(registered) if registered.is_file() else None,
        rows=rows,
    )
    return Extra(checks=found.checks, sections={"policy_changes": found.section})


def _unapproved(checks: Sequence[evidence.Check]) -> bool:
    return any(
        item["name"] == approval.NAME and item["status"] in {"fail", "inconclusive"}
        for item in checks
    )


def _identity(
    received: Handover, sets: Mapping[str, SetInput], paired: Sequence[PairedSet]
) -> list[evidence.Check]:
    """Two models that are two, sets that are the same, and rows that training never saw."""
    checks = identity.unseen(handover.overlaps(received, sets))
    baseline = received.baseline["baseline"]
    if baseline is None:
        return checks
    digests = {name: received.data["evaluation"][name]["digest"] for name in sets}
    checks += identity.evaluation(digests, handover.scored_on(received, sets))
    checks += identity.models(
        evidence.sha256_tree(received.folder / "run" / "model"),
        baseline["model_digest"],
        identical=all(one.identical for one in paired),
    )
    return checks


def _same_as_challenger(
    loaded: Project, received: Handover, sets: Mapping[str, SetInput]
) -> evidence.Check | None:
    """Look whether the newest version, which is not the baseline, is this very model."""
    found = handover.challengers(received, sets)
    if found is None:
        return None
    version, against = found
    _, paired = read(loaded, against)
    if not all(one.identical for one in paired):
        return None
    message = f"Version {version} (challenger) says of every row what the candidate says."
    return evidence.check("challenger", "pass", version, version, message)


def _baseline(loaded: Project, received: Handover) -> dict[str, Any] | None:
    """Give the baseline with the slices that it was judged on and that are still asked for."""
    baseline: dict[str, Any] | None = received.baseline["baseline"]
    gate = received.baseline_folder / "evidence" / "gate.json"
    if baseline is None or not gate.is_file():
        return baseline
    return {**baseline, "slices": expected_slices(loaded.config, evidence.read(gate, "gate"))}


def _history(received: Handover) -> list[str]:
    """Say what must not be forgotten of the baseline: that its verdict was overruled."""
    gate = received.baseline_folder / "evidence" / "gate.json"
    if not gate.is_file():
        return []
    return overruled(evidence.read(gate, "gate"), f"The baseline, version {received.version},")


def _earlier(loaded: Project, release: str) -> int:
    try:
        return verdicts.earlier(branch_of(loaded), loaded.config.name, release)
    except Failure as problem:
        raise Unjudged(
            evidence.check("release: wear", "inconclusive", message=problem.message)
        ) from None


def _record(loaded: Project, judgement: Judgement, release: str, earlier: int) -> Judgement:
    """Write the verdict down before it is said; one that cannot be written is none."""
    if not github.event().on_default_branch or judgement.verdict == "unchanged":
        return judgement
    try:
        verdicts.record(
            branch_of(loaded),
            loaded.config.name,
            release,
            verdict=judgement.verdict,
            earlier=earlier,
        )
    except verdicts.Moved:
        raise
    except Failure as problem:
        return _unrecorded(judgement, problem)
    return judgement


def _unrecorded(judgement: Judgement, problem: Failure) -> Judgement:
    found = evidence.check("release: record", "inconclusive", message=problem.message)
    verdict = "inconclusive" if judgement.verdict == "blessed" else judgement.verdict
    return dataclasses.replace(
        judgement, verdict=verdict, override=None, checks=[*judgement.checks, found]
    )


def _next_anchor(judgement: Judgement, received: Handover) -> dict[str, str | None]:
    """Name the model that later ones are held against, by set: ``None`` is this candidate.

    It takes the place of the anchor only where it is at least as good by every metric with a
    margin: one that is better by one metric and worse by another would let the other creep.
    """
    found: dict[str, str | None] = {}
    for name in judgement.evaluation:
        old = received.baseline["anchors"].get(name, {}).get("version")
        rows = [
            row
            for row in judgement.metrics
            if row["set"] == name
            and row["difference"] is not None
            and row["against"] == ("anchor" if old else "champion")
        ]
        better = all(
            row["difference"]["estimate"] * (1 if row["greater_is_better"] else -1) >= 0
            for row in rows
        )
        found[name] = None if received.version is None or better else old or received.version
    return found


def _overrule(loaded: Project, judgement: Judgement, received: Handover) -> Judgement:
    """Let the candidate through where someone says so, on the default branch."""
    newest = max((int(version) for version in received.baseline["aliases"].values()), default=0)
    here = github.event().on_default_branch
    where = None if here else "it counts on the default branch only"
    return consider(judgement, loaded.config.gate.override, newest=newest, where=where)


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
    _write_report(
        folder,
        output,
        baseline=received.baseline_folder / "evidence" if received else None,
        name=loaded.config.name,
        sensitive=loaded.config.sensitive,
        warnings=_WARNINGS.get(loaded.config.unattested, ()),
    )


def _write_report(folder: Path, output: Path, **options: Any) -> None:
    written = report.write(folder, output.parent, gate=output, **options)
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
