"""From paired predictions and a policy to a verdict.

Any check that fails: ``rejected``. Else any that is inconclusive: ``inconclusive``. Else
``blessed``, if at least one requirement was shown; a policy that shows nothing blesses nothing.
Where the candidate says of every row what the champion says: ``unchanged``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mlops_actions.config import Config, MetricPolicy, Project, Slice
from mlops_actions.evidence import Check, Status, check
from mlops_actions.gate import predictions, rules, slices
from mlops_actions.gate.metrics import Metric, UnknownMetric, lookup
from mlops_actions.gate.predictions import PairedSet, SetInput
from mlops_actions.gate.statistics import Comparison, Estimate, Undefined, compare

__all__ = ["Judgement", "SetInput", "Verdict", "decide", "judge"]

Verdict = Literal["blessed", "rejected", "inconclusive", "unchanged"]
REGRESSION = "regression"
_MOST_LISTED = 50  # Small slices that are listed one by one; the rest is counted.


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
        evaluation: digest, rows and groups of each set.
        policy: the policy's own numbers and its digest.
        warnings: what a reader must know besides.

    """

    verdict: Verdict
    gated: bool
    bootstrap: bool
    checks: list[Check]
    metrics: list[dict[str, Any]]
    slices: list[dict[str, Any]]
    evaluation: dict[str, dict[str, Any]]
    policy: dict[str, Any]
    warnings: list[str]

    @property
    def stops(self) -> bool:
        """Whether the run must end red."""
        return self.gated and self.verdict not in {"blessed", "unchanged"}

    @property
    def reasons(self) -> list[str]:
        """Why the verdict is not better, one sentence each; empty when there is nothing to say."""
        status = {"rejected": "fail", "inconclusive": "inconclusive"}.get(self.verdict)
        return [
            item.get("message") or f"{item['name']}: {item['status']}."
            for item in self.checks
            if item["status"] == status
        ]

    def predicate(self, config: Config, baseline: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the gate's own keys of its evidence."""
        known = ("alias", "version", "run_id")
        return {
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
            "policy": self.policy,
            "warnings": self.warnings,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """A metric and what is asked of it."""

    metric: Metric
    policy: MetricPolicy
    greater: bool

    @property
    def name(self) -> str:
        """The metric's name, as in ``mlops.yaml``."""
        return self.metric.name


@dataclasses.dataclass(kw_only=True)
class _Row:
    """One metric on one set or slice, with the rules it stands under."""

    paired: PairedSet
    chosen: Chosen
    part: slices.Part | None
    required: list[rules.Asked]
    guarded: list[rules.Asked]
    comparison: Comparison | None
    problem: str | None
    statuses: list[Status] = dataclasses.field(default_factory=list)
    checks: list[Check] = dataclasses.field(default_factory=list)

    def name(self, asked: rules.Asked) -> str:
        """Return the name of the check of a rule."""
        where = f", {self.part.name}" if self.part else ""
        return f"{self.paired.name}: {self.chosen.name} {asked.rule}{where}"

    def add(self, asked: rules.Asked, status: Status, message: str | None, **more: object) -> None:
        """Keep the answer to a rule."""
        observed = asked.observed(self.comparison) if self.comparison else None
        if observed is not None:
            more |= {"low": observed.low, "high": observed.high}
        if self.part:
            more["slice"] = self.part.name
        self.statuses.append(status)
        self.checks.append(
            check(
                self.name(asked),
                status,
                observed.estimate if observed else None,
                asked.required(),
                message,
                set=self.paired.name,
                metric=self.chosen.name,
                rule=asked.rule,
                **more,
            )
        )

    @property
    def status(self) -> Status:
        """The worst answer of its rules."""
        order: tuple[Status, ...] = ("fail", "inconclusive", "pass")
        return next((status for status in order if status in self.statuses), "skipped")


def judge(
    project: Project,
    sets: Mapping[str, SetInput],
    *,
    baseline: Mapping[str, Any] | None,
) -> Judgement:
    """Read the predictions of every set and decide.

    Args:
        project: the configuration in force.
        sets: the files by the name of the evaluation set. On the set ``regression`` every rule is
            a guardrail.
        baseline: what the champion is (``alias``, ``version``, ``run_id``, and ``slices``, the
            names of the slices its own evidence had, where that is known); ``None`` without one.

    Raises:
        ConfigurationError: the policy names a metric that does not exist or does not fit.

    """
    config = project.config
    chosen = choose(project)
    probability = any("probability" in item.metric.needs for item in chosen)
    quantiles = [
        float(found[1])
        for item in chosen
        if (found := re.fullmatch(r"(?:neg_)?pinball_(0?\.\d+)", item.name))
    ]
    losses = [
        found[1] for item in chosen if (found := re.fullmatch(r"(?:neg_)?loss_(\w+)", item.name))
    ]
    columns = list(dict.fromkeys(name for part in config.gate.slices for name in part.columns))
    paired = [
        predictions.read(
            name,
            given,
            config,
            columns=columns,
            probability=probability,
            quantiles=quantiles,
            losses=losses,
        )
        for name, given in sets.items()
    ]
    return decide(config, chosen, paired, baseline=baseline)


def choose(project: Project) -> list[Chosen]:
    """Look up the policy's metrics; refuse, with its line, one that does not exist or fit."""
    config = project.config
    classes = len(config.labels) if config.labels else None
    chosen = []
    for name, policy in config.gate.metrics.items():
        try:
            metric = lookup(name, config.task, classes=classes)
            greater = rules.direction(metric, policy)
        except UnknownMetric as problem:
            raise project.error(f"{problem}.", "gate", "metrics", name) from None
        except ValueError as problem:
            raise project.error(f"{problem}.", "gate", "metrics", name) from None
        chosen.append(Chosen(metric=metric, policy=policy, greater=greater))
    for place, part in enumerate(config.gate.slices):
        for name in part.metrics or ():
            if name not in config.gate.metrics:
                raise project.error(
                    f"The slice names the metric {name}, which gate.metrics does not have.",
                    *("gate", "slices", place, "metrics"),
                )
    return chosen


def decide(
    config: Config,
    chosen: Sequence[Chosen],
    paired: Sequence[PairedSet],
    *,
    baseline: Mapping[str, Any] | None = None,
) -> Judgement:
    """Decide on rows that are already paired; reads and writes nothing."""
    gate = config.gate
    checks: list[Check] = []
    warnings: list[str] = []
    for one in paired:
        checks += one.checks
        checks.append(_enough_rows(one, gate.min_rows))
    champion = _champion(config, paired, baseline)
    checks += champion.checks
    warnings += champion.warnings

    unfit = any(item["status"] == "fail" for item in checks)
    rows: list[_Row] = []
    listed: list[dict[str, Any]] = []
    if not unfit:
        judged = [one for one in paired if len(one) >= gate.min_rows]
        for one in judged:
            frozen = one.name == REGRESSION
            rows += [_whole(config, item, one, frozen=frozen) for item in chosen]
            if not frozen:
                found, small, more = _slices(config, chosen, one, baseline)
                rows += found
                listed += small
                checks += more
    for row in rows:
        _answer(row, missing=champion.bootstrap)
    _guard(rows, confidence=gate.confidence, missing=champion.bootstrap)
    for row in rows:
        checks += row.checks

    shown = any(
        item["status"] == "pass" and item.get("rule") in rules.REQUIREMENTS
        for row in rows
        for item in row.checks
        if not row.part
    )
    if not shown and not unfit:
        checks.append(
            check(
                "policy: something is shown",
                "inconclusive",
                0,
                1,
                "No requirement was shown, and a policy that shows nothing blesses nothing."
                + (
                    " Without a champion only a threshold can be shown."
                    if champion.bootstrap
                    else ""
                ),
            )
        )
    unchanged = bool(paired) and not unfit and all(one.identical for one in paired)
    gated = gate.mode == "enabled"
    if not gated:
        warnings.append(f"This verdict decided nothing: gate.mode is {gate.mode}.")
    return Judgement(
        verdict="unchanged" if unchanged else verdict_of(checks),
        gated=gated,
        bootstrap=champion.bootstrap,
        checks=checks,
        metrics=[_metric_row(row) for row in rows if not row.part],
        slices=[_slice_row(row) for row in rows if row.part] + listed,
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
            "mode": gate.mode,
            "seed": gate.seed,
            "resamples": gate.resamples,
            "digest": policy_digest(config),
        },
        warnings=warnings,
    )


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
        status: Status = "fail"
        return _Champion(
            bootstrap=False,
            checks=[check("champion", status, None, "a champion", message)],
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


# --- Rows --------------------------------------------------------------------------------------


def _whole(config: Config, item: Chosen, one: PairedSet, *, frozen: bool) -> _Row:
    local = rules.local_guardrail(item.policy, greater=item.greater)
    suspicious = rules.guardrails(item.policy, greater=item.greater)
    if frozen:
        required, guarded = [], suspicious + ([local] if local else [])
    else:
        required, guarded = rules.requirements(item.policy, greater=item.greater), suspicious
    return _row(config, item, one, None, required=required, guarded=guarded)


def _slices(
    config: Config,
    chosen: Sequence[Chosen],
    one: PairedSet,
    baseline: Mapping[str, Any] | None,
) -> tuple[list[_Row], list[dict[str, Any]], list[Check]]:
    """Return the rows of all slices, the slices too small to be judged, and further checks."""
    rows: list[_Row] = []
    listed: list[dict[str, Any]] = []
    checks: list[Check] = []
    seen: set[str] = set()
    for policy in config.gate.slices:
        title = " and ".join(policy.columns)
        least = policy.min_slice_size or config.gate.min_slice_size
        parts = slices.divide(one.rows, policy, sensitive=config.sensitive)
        seen.update(part.name for part in parts)
        checks += _missing_values(policy, parts, one.name)
        large = [part for part in parts if len(part.rows) >= least]
        small = [part for part in parts if len(part.rows) < least]
        if len(large) > slices.MOST_SLICES:
            checks.append(
                check(
                    f"{one.name}: slices of {title}",
                    "fail",
                    len(large),
                    slices.MOST_SLICES,
                    f"{title} makes {len(large)} slices; use bins, or a column with fewer values.",
                    set=one.name,
                )
            )
            continue
        if small:
            checks.append(
                check(
                    f"{one.name}: small slices of {title}",
                    "skipped",
                    len(small),
                    least,
                    f"{len(small)} slices of {title} have fewer than {least} rows and were not "
                    "judged.",
                    set=one.name,
                )
            )
        if not large:
            checks.append(
                check(
                    f"{one.name}: slices of {title}",
                    "inconclusive",
                    0,
                    1,
                    f"No slice of {title} has {least} rows.",
                    set=one.name,
                )
            )
        listed += [_small_row(one, part, required=policy.require) for part in small[:_MOST_LISTED]]
        for part in large:
            for item in chosen:
                if policy.metrics is not None and item.name not in policy.metrics:
                    continue
                if policy.require:
                    required = rules.requirements(item.policy, greater=item.greater)
                    guarded: list[rules.Asked] = []
                else:
                    required = []
                    local = rules.local_guardrail(item.policy, greater=item.greater)
                    guarded = [local] if local else []
                if required or guarded:
                    rows.append(_row(config, item, one, part, required=required, guarded=guarded))
    checks += _lost_slices(baseline, seen, one.name)
    return rows, listed, checks


def _missing_values(policy: Slice, parts: Sequence[slices.Part], name: str) -> list[Check]:
    present = {str(part.values[0]) for part in parts}
    return [
        check(
            f"{name}: slice {policy.columns[0]}={value}",
            "fail",
            0,
            1,
            f"The set {name} has no row with {policy.columns[0]}={value}, which the policy "
            "expects.",
            set=name,
        )
        for value in policy.values or ()
        if str(value) not in present
    ]


def _lost_slices(baseline: Mapping[str, Any] | None, seen: set[str], name: str) -> list[Check]:
    had: Mapping[str, Sequence[str]] = (baseline or {}).get("slices") or {}
    return [
        check(
            f"{name}: slice {lost}",
            "fail",
            0,
            1,
            f"The champion was judged on the slice {lost}, which the set {name} no longer has.",
            set=name,
        )
        for lost in had.get(name, ())
        if lost not in seen
    ]


def _row(
    config: Config,
    item: Chosen,
    one: PairedSet,
    part: slices.Part | None,
    *,
    required: list[rules.Asked],
    guarded: list[rules.Asked],
) -> _Row:
    comparison, problem = None, None
    relative = one.champion is not None and any(
        asked.rule == "min_relative_change" for asked in required
    )
    try:
        try:
            comparison = _compare(config, item, one, part, relative=relative)
        except Undefined:
            if not relative:
                raise
            comparison = _compare(config, item, one, part, relative=False)
    except Undefined as undefined:
        problem = undefined.reason
    return _Row(
        paired=one, chosen=item, part=part, required=required, guarded=guarded,
        comparison=comparison, problem=problem,
    )  # fmt: skip


def _compare(
    config: Config, item: Chosen, one: PairedSet, part: slices.Part | None, *, relative: bool
) -> Comparison:
    if one.candidate is None:
        raise Undefined("there are no predictions")
    whole = part is None or len(part.rows) == len(one)
    return compare(
        item.metric,
        one.candidate,
        one.champion,
        rows=None if whole or part is None else part.rows,
        confidence=config.gate.confidence,
        resamples=config.gate.resamples,
        seed=config.gate.seed,
        relative=relative,
    )


# --- Answers -----------------------------------------------------------------------------------


def _unanswerable(row: _Row, asked: rules.Asked, *, missing: bool) -> tuple[Status, str] | None:
    """Return why a rule cannot be judged by an interval, if it cannot."""
    if missing and asked.rule in rules.CHANGES:
        return "skipped", "There is no champion to compare with."
    where = f" on {row.part.name}" if row.part else ""
    if row.comparison is None:
        return (
            "inconclusive",
            f"{row.chosen.name} is undefined{where} of the set {row.paired.name}: {row.problem}.",
        )
    observed = asked.observed(row.comparison)
    if observed is None:
        champion = row.comparison.champion
        base = champion.estimate if champion else float("nan")
        if asked.rule == "min_relative_change":
            message = (
                f"{row.chosen.name}{where}: the champion's value is {base:.4g}, and a relative "
                "change needs a positive one. Use min_absolute_change."
            )
            return "fail", message
        return "fail", f"{row.chosen.name}{where}: there is nothing to compare with."
    if not np.isfinite((observed.estimate, observed.low, observed.high)).all():
        return "fail", f"{row.chosen.name}{where} is not a finite number."
    return None


def _answer(row: _Row, *, missing: bool) -> None:
    """Judge the requirements of a row."""
    for asked in row.required:
        answer = _unanswerable(row, asked, missing=missing)
        if answer:
            row.add(asked, *answer)
            continue
        assert row.comparison is not None  # noqa: S101 - _unanswerable has seen to it.
        status = asked.judge(row.comparison)
        row.add(asked, status, None if status == "pass" else _explain(row, asked, status))


def _guard(rows: Sequence[_Row], *, confidence: float, missing: bool) -> None:
    """Judge all guardrails together."""
    family: list[tuple[_Row, rules.Asked, float]] = []
    for row in rows:
        for asked in row.guarded:
            answer = _unanswerable(row, asked, missing=missing)
            if answer:
                row.add(asked, *answer, guardrail=True)
            elif row.comparison is not None:
                family.append((row, asked, asked.violation(row.comparison)))
    adjusted = holm([p_value for *_, p_value in family])
    for (row, asked, p_value), corrected in zip(family, adjusted, strict=True):
        status: Status = "fail" if not corrected > 1 - confidence else "pass"
        row.add(
            asked,
            status,
            _explain(row, asked, status, corrected) if status == "fail" else None,
            guardrail=True,
            p_value=p_value,
            adjusted_p_value=corrected,
        )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values: at most alpha means rejected at the family level alpha."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, number in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def _explain(row: _Row, asked: rules.Asked, status: Status, p_value: float | None = None) -> str:
    """Return one sentence on a rule that does not hold, and one on why."""
    observed = asked.observed(row.comparison) if row.comparison else None
    assert observed is not None  # noqa: S101 - _unanswerable has seen to it.
    form = ".4g" if asked.rule == "threshold" else "+.4g"
    if asked.rule == "min_relative_change":
        form = "+.3%"
    number, low, high = (
        format(value, form) for value in (observed.estimate, observed.low, observed.high)
    )
    where = f" on {row.part.name}" if row.part else ""
    verb = "is" if asked.rule == "threshold" else "changed by"
    text = (
        f"{row.paired.name}: {row.chosen.name}{where} {verb} {number} "
        f"({observed.confidence:.0%} interval {low} to {high}); required: {asked.text}."
    )
    if p_value is not None:
        return f"{text} The violation is shown (Holm-adjusted p {p_value:.2g})."
    return f"{text} The interval {'excludes it' if status == 'fail' else 'leaves it open'}."


# --- Tables ------------------------------------------------------------------------------------


def interval(estimate: Estimate | None) -> dict[str, float] | None:
    """Return an estimate as it stands in evidence."""
    if estimate is None:
        return None
    return {"estimate": estimate.estimate, "low": estimate.low, "high": estimate.high}


def _numbers(row: _Row) -> dict[str, Any]:
    comparison = row.comparison
    return {
        "candidate": interval(comparison.candidate) if comparison else None,
        "champion": interval(comparison.champion) if comparison else None,
        "difference": interval(comparison.difference) if comparison else None,
        "status": row.status,
    }


def _metric_row(row: _Row) -> dict[str, Any]:
    comparison = row.comparison
    method = None
    if comparison:
        method = (comparison.difference or comparison.candidate).method
    return {
        "set": row.paired.name,
        "metric": row.chosen.name,
        "greater_is_better": row.chosen.greater,
        **_numbers(row),
        "requirement": "; ".join(asked.text for asked in (*row.required, *row.guarded)),
        "method": method,
        **({"reason": row.problem} if row.problem else {}),
    }


def _slice_row(row: _Row) -> dict[str, Any]:
    assert row.part is not None  # noqa: S101
    return {
        "set": row.paired.name,
        "slice": row.part.name,
        "rows": len(row.part.rows),
        "groups": _groups(row.paired, row.part),
        "metric": row.chosen.name,
        "greater_is_better": row.chosen.greater,
        **_numbers(row),
        "requirement": "; ".join(asked.text for asked in (*row.required, *row.guarded)),
        "required": bool(row.required),
        **({"reason": row.problem} if row.problem else {}),
    }


def _small_row(one: PairedSet, part: slices.Part, *, required: bool) -> dict[str, Any]:
    return {
        "set": one.name,
        "slice": part.name,
        "rows": len(part.rows),
        "groups": _groups(one, part),
        "metric": None,
        "candidate": None,
        "champion": None,
        "difference": None,
        "status": "skipped",
        "required": required,
    }


def _groups(one: PairedSet, part: slices.Part) -> int | None:
    group = None if one.candidate is None else one.candidate.group
    return None if group is None else len(np.unique(group[part.rows]))
