"""From paired predictions and a policy to a verdict.

Any check that fails: ``rejected``. Else any that is inconclusive: ``inconclusive``. Else
``blessed``, if at least one requirement was shown; a policy that shows nothing blesses nothing.
Where the candidate says of every row what the champion says: ``unchanged``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mlops_actions.config import Config, Project
from mlops_actions.evidence import Check, check
from mlops_actions.gate import calibration, predictions, residuals, rows, self_test, wear
from mlops_actions.gate.assessment import Policy, assess, choose
from mlops_actions.gate.predictions import PairedSet, SetInput
from mlops_actions.gate.rows import Terms

__all__ = ["Judgement", "SetInput", "Verdict", "choose", "decide", "judge"]

Verdict = Literal["blessed", "rejected", "inconclusive", "unchanged"]

FEW_GROUPS = 30
"""Below this a reader is warned: with 20 groups the 95 % interval of average precision holds the
truth in 92 % (``tests/simulations/interval_coverage.py``)."""


@dataclasses.dataclass(kw_only=True)
class Extra:
    """What is judged besides the predictions on the evaluation sets, such as latency.

    Attributes:
        checks: they count like the others.
        sections: further keys of the evidence.
        mutants: known-bad candidates, made for these rules: name, and whether it was noticed.
        warnings: what a reader must know besides.

    """

    checks: list[Check] = dataclasses.field(default_factory=list)
    sections: dict[str, Any] = dataclasses.field(default_factory=dict)
    mutants: list[tuple[str, bool]] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: Extra) -> None:
        """Take what another one says."""
        self.checks += other.checks
        self.sections |= other.sections
        self.mutants += other.mutants
        self.warnings += other.warnings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict and everything it rests on.

    Attributes:
        verdict: what the policy says, whatever the mode.
        gated: whether the verdict decides: false in a dry run and when the gate is disabled.
        bootstrap: whether there was no champion and the policy allowed it.
        checks: every check, input by input and rule by rule.
        metrics: a row for each set and metric, as in ``gate.json``.
        slices: a row for each set, slice and metric.
        fairness: a row for each set and rule of fairness.
        calibration: expected calibration error and reliability of each model on each set.
        residuals: what each model of a regression misses by, for the plots.
        self_test: known-bad candidates and whether the policy noticed each.
        evaluation: digest, rows and groups of each set.
        policy: the policy's own numbers and its digest.
        warnings: what a reader must know besides.
        override: who overruled the gate, why, until when, and its own verdict; usually ``None``.
        sections: further keys of the evidence, from what was judged besides.

    """

    verdict: Verdict
    gated: bool
    bootstrap: bool
    checks: list[Check]
    metrics: list[dict[str, Any]]
    slices: list[dict[str, Any]]
    fairness: list[dict[str, Any]]
    calibration: list[dict[str, Any]]
    residuals: list[dict[str, Any]]
    self_test: list[dict[str, Any]]
    evaluation: dict[str, dict[str, Any]]
    policy: dict[str, Any]
    warnings: list[str]
    override: dict[str, str] | None = None
    sections: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def stops(self) -> bool:
        """Whether the run must end red."""
        return self.gated and self.verdict not in {"blessed", "unchanged"}

    @property
    def reasons(self) -> list[str]:
        """Why the verdict is not better, one sentence each; empty when there is nothing to say."""
        verdict = self.override["verdict"] if self.override else self.verdict
        status = {"rejected": "fail", "inconclusive": "inconclusive"}.get(verdict)
        return [
            item.get("message") or f"{item['name']}: {item['status']}."
            for item in self.checks
            if item["status"] == status
        ]

    def predicate(self, config: Config, baseline: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the gate's own keys of its evidence."""
        known = ("alias", "version", "run_id")
        return {
            **self.sections,
            "model": config.name,
            "task": config.task,
            "baseline": None if baseline is None else {key: baseline.get(key) for key in known},
            "bootstrap": self.bootstrap,
            "gated": self.gated,
            "reasons": self.reasons,
            "evaluation": self.evaluation,
            "shared_evaluation": config.data.shared_evaluation,
            "metrics": self.metrics,
            "slices": self.slices,
            "fairness": self.fairness,
            "calibration": self.calibration,
            "residuals": self.residuals,
            "self_test": self.self_test,
            "policy": self.policy,
            "warnings": self.warnings,
            "override": self.override,
        }


def judge(
    project: Project,
    sets: Mapping[str, SetInput],
    *,
    baseline: Mapping[str, Any] | None,
    earlier: int | None = None,
    extra: Extra | None = None,
) -> Judgement:
    """Read the predictions of every set and decide.

    Args:
        project: the configuration in force.
        sets: the files by the name of the evaluation set. On the set ``regression`` every rule is
            a guardrail.
        baseline: what the champion is (``alias``, ``version``, ``run_id``, and ``slices``, which
            is what `expected_slices` gives of its own evidence); ``None`` without one.
        earlier: how many verdicts the release set has given before, where that is counted; the
            level is then corrected for it (see `wear`).
        extra: what the caller judged besides, such as `identity`; it counts like ours.

    Raises:
        ConfigurationError: the policy names a metric that does not exist or does not fit.

    """
    policy, paired = read(project, sets)
    return decide(policy, paired, baseline=baseline, earlier=earlier, extra=extra)


def read(project: Project, sets: Mapping[str, SetInput]) -> tuple[Policy, list[PairedSet]]:
    """Look up the policy, and read and pair the files of every set.

    Raises:
        ConfigurationError: the policy names a metric that does not exist or does not fit.

    """
    config = project.config
    policy = choose(project)
    return policy, [
        predictions.read(
            name,
            given,
            config,
            columns=config.gate.columns,
            probability=policy.reads_probability,
            quantiles=policy.quantiles,
            losses=policy.losses,
        )
        for name, given in sets.items()
    ]


def decide(
    policy: Policy,
    paired: Sequence[PairedSet],
    *,
    baseline: Mapping[str, Any] | None = None,
    earlier: int | None = None,
    extra: Extra | None = None,
) -> Judgement:
    """Decide on rows that are already paired; reads and writes nothing.

    Args:
        policy: what `choose` gives.
        paired: the sets that decide, each with candidate and, where there is one, champion.
        baseline: as for `judge`.
        earlier: as for `judge`.
        extra: what was judged besides; its checks count like the others.

    """
    extra = extra or Extra()
    more = extra.checks
    config, gate = policy.config, policy.config.gate
    checks: list[Check] = []
    for one in paired:
        checks += one.checks
        checks.append(_enough_rows(one, gate.min_rows))
    champion = _champion(config, paired, baseline)
    checks += champion.checks
    gated = gate.mode == "enabled"
    warnings = [] if gated else [f"This verdict decided nothing: gate.mode is {gate.mode}."]
    warnings += [*champion.warnings, *extra.warnings]
    warnings += [text for one in paired if (text := _few_groups(one))]
    unfit = any(item["status"] == "fail" for item in checks)
    checks += more
    judged = [one for one in paired if len(one) >= gate.min_rows and not unfit]
    unchanged = (
        bool(judged)
        and all(one.identical for one in paired)
        and all(item["status"] != "fail" for item in more)
    )

    level = gate.confidence
    if earlier is not None:
        level = wear.confidence(level, earlier + 1)
        checks.append(wear.fresh(earlier + 1, gate.max_verdicts))
    terms = Terms(
        confidence=level,
        resamples=gate.resamples,
        seed=gate.seed,
        bootstrap=champion.bootstrap,
    )
    had = (baseline or {}).get("slices")
    found = assess(policy, judged, terms, had=had)
    checks += found.checks
    rows.show_together(found.rows, policy.guarded(terms))
    tested = None
    if judged and not unchanged:
        together = sum("adjusted_p_value" in item for item in found.checks)
        tested = self_test.run(policy, judged, terms, guardrails=together)
        checks += tested.checks
        checks += [_unnoticed(name) for name, noticed in extra.mutants if not noticed]
        if tested.unnoticed:
            warnings.append(f"No rule would notice: {'; '.join(tested.unnoticed)}.")
    return Judgement(
        verdict="unchanged" if unchanged else verdict_of(checks),
        gated=gated,
        bootstrap=champion.bootstrap,
        checks=checks,
        metrics=[rows.as_metric(row) for row in found.rows if not row.part],
        slices=[rows.as_slice(row) for row in found.rows if row.part] + found.small,
        fairness=[gap.as_row() for gap in found.gaps],
        calibration=[item for one in judged for item in calibration.of_set(one)],
        residuals=[item for one in judged for item in residuals.of_set(one)],
        self_test=_mutants(tested, extra) if tested else [],
        sections=extra.sections,
        evaluation={
            one.name: {
                "digest": one.digest,
                "rows": len(one),
                "groups": one.groups,
                "left_out": one.left_out,
            }
            for one in paired
        },
        policy={
            "confidence": gate.confidence,
            "level": level,
            "verdict": None if earlier is None else earlier + 1,
            "mode": gate.mode,
            "seed": gate.seed,
            "resamples": gate.resamples,
            "digest": policy_digest(config),
        },
        warnings=warnings,
    )


def expected_slices(config: Config, predicate: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return by set what a champion was judged on, by its evidence, and the policy still asks for.

    Not what is cut into bins, whose edges move with the rows; nor the values of sensitive columns,
    which are numbered anew each time.
    """
    cuts = [part.columns for part in config.gate.slices]
    cuts = [columns for columns in cuts if not set(columns) & set(config.sensitive)]
    found: dict[str, list[str]] = {}
    for row in predicate.get("slices") or ():
        if not isinstance(row, dict) or row.get("metric") is None or row.get("cut") is not False:
            continue
        names = found.setdefault(str(row.get("set")), [])
        name = str(row.get("slice"))
        if row.get("columns") in cuts and name not in names:
            names.append(name)
    return found


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """Return the verdict of the checks. No check at all is no blessing."""
    statuses = {item["status"] for item in checks}
    if "fail" in statuses:
        return "rejected"
    if "inconclusive" in statuses or "pass" not in statuses:
        return "inconclusive"
    return "blessed"


def policy_digest(config: Config) -> str:
    """Digest everything in the configuration that a verdict depends on."""
    whole = config.model_dump(mode="json")
    keys = ("task", "target", "labels", "positive_label", "id", "group", "weight", "time", "gate")
    text = json.dumps({key: whole[key] for key in keys}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _unnoticed(name: str) -> Check:
    message = f"The rule made for it would not notice {name}: here it says nothing."
    return check(f"self-test: {name}", "inconclusive", "unnoticed", "noticed", message)


def _mutants(tested: self_test.Tested, extra: Extra) -> list[dict[str, Any]]:
    return tested.mutants + [
        {"name": name, "kind": "rule", "noticed": noticed} for name, noticed in extra.mutants
    ]


# --- Inputs ------------------------------------------------------------------------------------


def _enough_rows(paired: PairedSet, least: int) -> Check:
    name = f"{paired.name}: rows"
    if paired.candidate is None:
        return check(name, "skipped", None, least, None, set=paired.name)
    count = len(paired)
    if count >= least:
        return check(name, "pass", count, least, None, set=paired.name)
    reason = f"The set {paired.name} has {count} rows; fewer than {least} decide nothing."
    if paired.left_out:
        reason += f" {paired.left_out} rows up to the training cut-off were left out."
    return check(name, "inconclusive", count, least, reason, set=paired.name)


def _few_groups(paired: PairedSet) -> str | None:
    """Say that intervals from so few groups are too short."""
    if paired.groups is None or paired.groups >= FEW_GROUPS:
        return None
    return (
        f"The set {paired.name} has {paired.groups} groups. Intervals from fewer than {FEW_GROUPS} "
        "groups are a little too short."
    )


@dataclasses.dataclass(kw_only=True)
class _Champion:
    bootstrap: bool
    checks: list[Check]
    warnings: list[str]


def _champion(
    config: Config, paired: Sequence[PairedSet], baseline: Mapping[str, Any] | None
) -> _Champion:
    """See whether there is a champion on every set, and what it means if there is none."""
    failed = {item.get("set") for one in paired for item in one.checks if item["status"] == "fail"}
    without = [one.name for one in paired if one.champion is None and one.name not in failed]
    if not without:
        return _Champion(bootstrap=False, checks=[], warnings=[])
    if baseline is not None or len(without) < len(paired) - len(failed):
        message = f"There is a champion, but no predictions of it on {', '.join(without)}."
        return _Champion(
            bootstrap=False, checks=[check("champion", "fail", None, None, message)], warnings=[]
        )
    if config.gate.bootstrap == "refuse":
        message = (
            "There is no champion to compare with, and gate.bootstrap is refuse. Set it to allow "
            "for the first model."
        )
        return _Champion(
            bootstrap=False,
            checks=[check("champion", "fail", None, "a champion", message)],
            warnings=[],
        )
    message = (
        "There is no champion: nothing was compared, and gate.bootstrap allows it. Only thresholds "
        "were judged."
    )
    return _Champion(
        bootstrap=True,
        checks=[check("champion", "skipped", None, "a champion", message)],
        warnings=[message],
    )
