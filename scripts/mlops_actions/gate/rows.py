"""One metric on one set or slice, under the rules it stands under."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy.special import ndtri

from mlops_actions.config import Config, MetricPolicy, Slice
from mlops_actions.evidence import Check, Status, check
from mlops_actions.gate import rules, slices
from mlops_actions.gate.predictions import PairedSet
from mlops_actions.gate.statistics import multiplicity
from mlops_actions.gate.statistics.comparison import Comparison, Estimate, Undefined, compare
from mlops_actions.gate.statistics.metrics import Metric, Ranks

MOST_LISTED = 50
"""Small slices that are listed one by one; the rest is counted."""

MOST_INFLUENCES = 5_000_000
"""Contributions kept for the simultaneous intervals; above, they are Bonferroni's, which for
slices that do not overlap are hardly wider and cost nothing."""

FEWEST = 10
"""Rows, or groups, of a class below which nothing is read from a metric of order: where 30 % of the
positives are lost, ROC-AUC's one-sided 2.5 % errs in 25 % with 5 of them, in 11 % with 10 and in
5 % from 20 on (400 simulated pairs of 2,000 rows)."""

Against = Literal["champion", "anchor"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms:
    """How a verdict is reached.

    Attributes:
        confidence: level of the two-sided intervals; one minus it is what all guardrails together
            may err with.
        resamples: number of draws, where there are draws.
        seed: of the draws.
        bootstrap: there is no champion, and that is allowed.

    """

    confidence: float
    resamples: int
    seed: int
    bootstrap: bool = False


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


@dataclasses.dataclass(frozen=True)
class Guardrail:
    """A violation that is judged together with all others.

    Attributes:
        p_value: one-sided, of "this is not violated".
        settle: takes the corrected p-value, the level of the whole family and its size.

    """

    p_value: float
    settle: Callable[[float, float, int], None]


@dataclasses.dataclass(kw_only=True)
class Row:
    """A metric on a set, or on a part of it.

    Attributes:
        paired: the set.
        chosen: the metric and its policy.
        part: the slice, or ``None`` for all rows.
        required: rules that must be shown.
        guarded: rules whose violation must not be shown.
        against: whom the candidate is compared with.
        comparison: the numbers, once measured.
        problem: why there are none.
        checks: the answers, once judged.
        simultaneous: interval of the guarded number that holds together with all others shown.

    """

    paired: PairedSet
    chosen: Chosen
    part: slices.Part | None = None
    required: list[rules.Asked] = dataclasses.field(default_factory=list)
    guarded: list[rules.Asked] = dataclasses.field(default_factory=list)
    against: Against = "champion"
    comparison: Comparison | None = None
    problem: str | None = None
    checks: list[Check] = dataclasses.field(default_factory=list)
    simultaneous: tuple[float, float] | None = None

    @property
    def status(self) -> Status:
        """The worst answer of its rules."""
        statuses = {item["status"] for item in self.checks}
        order: tuple[Status, ...] = ("fail", "inconclusive", "pass")
        return next((status for status in order if status in statuses), "skipped")

    @property
    def shows_something(self) -> bool:
        """Whether one of its requirements was shown."""
        return any(item["status"] == "pass" and "guardrail" not in item for item in self.checks)

    @property
    def requirement(self) -> str:
        """What is asked, in words."""
        return "; ".join(asked.text for asked in (*self.required, *self.guarded))

    @property
    def where(self) -> str:
        """The rows it is about, as part of a sentence."""
        text = f" on {self.part.name}" if self.part else ""
        return text + (" against the anchor" if self.against == "anchor" else "")

    def measure(self, terms: Terms, *, influence: bool) -> None:
        """Compute the comparison, or keep the reason why there is none."""
        other = self.paired.anchor if self.against == "anchor" else self.paired.champion
        whole = self.part is None or len(self.part.rows) == len(self.paired)
        relative = other is not None and any(
            asked.rule == "min_relative_change" for asked in self.required
        )
        for asked_relative in (True, False) if relative else (False,):
            try:
                if self.paired.candidate is None:
                    raise Undefined("there are no predictions")
                self.comparison = compare(
                    self.chosen.metric,
                    self.paired.candidate,
                    other,
                    rows=None if whole or self.part is None else self.part.rows,
                    confidence=terms.confidence,
                    resamples=terms.resamples,
                    seed=terms.seed,
                    relative=asked_relative,
                    influence=influence,
                )
                self.problem = None
            except Undefined as undefined:
                self.problem = undefined.reason
            else:
                return

    def add(
        self, asked: rules.Asked, status: Status, message: str | None = None, **more: object
    ) -> None:
        """Keep the answer to a rule."""
        observed = asked.observed(self.comparison) if self.comparison else None
        if observed is not None:
            more = {"low": observed.low, "high": observed.high, **more}
        rule = "anchor" if self.against == "anchor" else asked.rule
        name = f"{self.paired.name}: {self.chosen.name} {rule}"
        if self.part:
            more["slice"] = self.part.name
            name += f", {self.part.name}"
        self.checks.append(
            check(
                name,
                status,
                observed.estimate if observed else None,
                asked.required(),
                message,
                set=self.paired.name,
                metric=self.chosen.name,
                rule=rule,
                **more,
            )
        )

    def answer(self, terms: Terms) -> list[Guardrail]:
        """Judge the requirements; return the guardrails, to be settled with all others."""
        guardrails = []
        for asked in (*self.required, *self.guarded):
            guarded = asked in self.guarded
            reason = self._unanswerable(asked, terms)
            if reason:
                status, message = reason
                more: dict[str, Any] = {"guardrail": True} if guarded else {}
                self.add(asked, status, message, **more)
            elif guarded and self.comparison is not None:
                guardrails.append(self._guardrail(asked, self.comparison))
            elif self.comparison is not None:
                status = asked.judge(self.comparison)
                self.add(asked, status, None if status == "pass" else self.explain(asked, status))
        return guardrails

    def _unanswerable(self, asked: rules.Asked, terms: Terms) -> tuple[Status, str] | None:
        """Return why a rule cannot be judged by an interval, if it cannot."""
        if terms.bootstrap and asked.rule in rules.CHANGES:
            return "skipped", "There is no champion to compare with."
        name = f"{self.paired.name}: {self.chosen.name}{self.where}"
        if self.comparison is None:
            return "inconclusive", f"{name} is undefined: {self.problem}."
        if rare := self._rare_class():
            return "inconclusive", f"{name} says too little: {rare}."
        observed = asked.observed(self.comparison)
        if observed is None and asked.rule == "min_relative_change":
            champion = self.comparison.champion
            base = champion.estimate if champion else float("nan")
            return "fail", (
                f"{name}: the champion's value is {base:.4g}, and a relative change needs a "
                "positive one. Use min_absolute_change."
            )
        if observed is None:
            return "fail", f"{name}: there is nothing to compare with."
        if not np.isfinite((observed.estimate, observed.low, observed.high)).all():
            return "fail", f"{name} is not a finite number."
        return None

    def _rare_class(self) -> str | None:
        """Say of a metric of order which class has too few independent rows."""
        scored = self.paired.candidate
        if not isinstance(self.chosen.metric.family, Ranks) or scored is None or not scored.labels:
            return None
        chosen = slice(None) if self.part is None else self.part.rows
        codes, places = scored.codes()[chosen], range(len(scored.labels))
        if scored.group is None:
            units, counts = "rows", [np.count_nonzero(codes == place) for place in places]
        else:
            group = scored.group[chosen]
            units, counts = (
                "groups",
                [np.count_nonzero(np.bincount(group[codes == place])) for place in places],
            )
        rarest = int(np.argmin(counts))
        if counts[rarest] >= FEWEST:
            return None
        label, count = scored.labels[rarest], counts[rarest]
        return f"the class {label!r} has {count} {units}, fewer than {FEWEST}"

    def _guardrail(self, asked: rules.Asked, comparison: Comparison) -> Guardrail:
        p_value = asked.violation(comparison)

        def settle(corrected: float, alpha: float, size: int) -> None:
            status: Status = "pass" if corrected > alpha else "fail"
            message = None
            more: dict[str, object] = {"p_value": p_value, "adjusted_p_value": corrected}
            if status == "fail":
                message = (
                    f"{self.explain(asked)} The violation is shown "
                    f"(Holm-adjusted p {corrected:.2g})."
                )
            better = asked.better(comparison)
            if better is not None and asked.rule == "max_absolute_change":
                gain = multiplicity.detectable_loss(better, asked.bound, alpha / size)
                more["detectable_gain"] = gain
            elif better is not None:
                margin = asked.bound if asked.rule == "non_inferiority_margin" else 0.0
                noticed = multiplicity.detectable_loss(better, margin, alpha / size)
                more["detectable_loss"] = noticed
                most = self.chosen.policy.max_undetectable_loss
                if status == "pass" and most is not None and not noticed <= most:
                    status = "inconclusive"
                    message = (
                        f"{self.paired.name}: a loss of {self.chosen.name}{self.where} would be "
                        f"noticed from {noticed:.3g} on; max_undetectable_loss is {most:g}."
                    )
            self.add(asked, status, message, guardrail=True, **more)

        return Guardrail(p_value, settle)

    def explain(self, asked: rules.Asked, status: Status | None = None) -> str:
        """Return one sentence on a rule that does not hold, and one on why."""
        observed = asked.observed(self.comparison) if self.comparison else None
        if observed is None:
            return ""
        form = ".4g" if asked.rule == "threshold" else "+.4g"
        if asked.rule == "min_relative_change":
            form = "+.3%"
        number, low, high = (
            format(value, form) for value in (observed.estimate, observed.low, observed.high)
        )
        verb = "is" if asked.rule == "threshold" else "changed by"
        text = (
            f"{self.paired.name}: {self.chosen.name}{self.where} {verb} {number} "
            f"({100 * observed.confidence:.4g} % interval {low} to {high}); required: {asked.text}."
        )
        if status is None:
            return text
        return f"{text} The interval {'excludes it' if status == 'fail' else 'leaves it open'}."

    def guarded_estimate(self) -> Estimate | None:
        """Return the number that the guardrail shown beside the row is about."""
        if not self.guarded or self.comparison is None:
            return None
        return self.guarded[0].observed(self.comparison)


# --- Which rows there are ----------------------------------------------------------------------


def whole(chosen: Sequence[Chosen], one: PairedSet, *, frozen: bool) -> list[Row]:
    """Return the rows of a whole set; on a frozen one every rule is a guardrail."""
    found = []
    for item in chosen:
        local = rules.frozen_guardrail(item.policy, greater=item.greater)
        guarded = rules.guardrails(item.policy, greater=item.greater)
        required = rules.requirements(item.policy, greater=item.greater)
        if frozen:
            required, guarded = [], guarded + ([local] if local else [])
        found.append(Row(paired=one, chosen=item, required=required, guarded=guarded))
        margin = [asked for asked in required if asked.rule == "non_inferiority_margin"]
        if one.anchor is not None and margin:
            found.append(Row(paired=one, chosen=item, required=margin, against="anchor"))
    return found


@dataclasses.dataclass(kw_only=True)
class Divided:
    """The slices of a set: those that are judged, those that are listed, and what is amiss."""

    rows: list[Row] = dataclasses.field(default_factory=list)
    small: list[tuple[slices.Part, bool]] = dataclasses.field(default_factory=list)
    checks: list[Check] = dataclasses.field(default_factory=list)


def sliced(
    config: Config, chosen: Sequence[Chosen], one: PairedSet, had: Sequence[str] = ()
) -> Divided:
    """Cut a set by every slice of the policy; ``had`` names slices that must still be there."""
    divided = Divided()
    seen: set[str] = set()
    for policy in config.gate.slices:
        found = slices.count(one.rows, policy)
        if found > slices.MOST_PARTS:
            divided.checks.append(_too_many(one, policy, found, slices.MOST_PARTS))
            continue
        parts = slices.divide(one.rows, policy, sensitive=config.sensitive)
        seen.update(part.name for part in parts)
        _add_slice(config, chosen, one, policy, parts, divided)
    divided.checks += [
        check(
            f"{one.name}: slice {lost}",
            "fail",
            0,
            1,
            f"The champion was judged on the slice {lost}, which the set {one.name} no longer has.",
            set=one.name,
        )
        for lost in had
        if lost not in seen
    ]
    return divided


def _too_many(one: PairedSet, policy: Slice, found: int, most: int) -> Check:
    title = " and ".join(policy.columns)
    message = f"{title} makes {found} slices; use bins, or a column with fewer values."
    return check(f"{one.name}: slices of {title}", "fail", found, most, message, set=one.name)


def _add_slice(
    config: Config,
    chosen: Sequence[Chosen],
    one: PairedSet,
    policy: Slice,
    parts: Sequence[slices.Part],
    divided: Divided,
) -> None:
    title = " and ".join(policy.columns)
    if policy.bins is not None and not any(
        one.rows[column].dtype.is_numeric() for column in policy.columns
    ):
        message = f"The slices of {title} have bins, which need a column of numbers."
        kinds = ", ".join(str(one.rows[column].dtype) for column in policy.columns)
        name = f"{one.name}: bins of {title}"
        divided.checks.append(check(name, "fail", kinds, "a number", message, set=one.name))
    least = policy.min_slice_size or config.gate.min_slice_size
    large = [part for part in parts if len(part.rows) >= least]
    small = [part for part in parts if len(part.rows) < least]

    def note(name: str, status: Status, observed: int, required: int, message: str) -> None:
        divided.checks.append(
            check(f"{one.name}: {name}", status, observed, required, message, set=one.name)
        )

    present = {slices.text(part.values[0]) for part in parts}
    for value in policy.values or ():
        if slices.text(value) not in present:
            lacking = f"{policy.columns[0]}={slices.text(value)}"
            message = f"The set {one.name} has no row with {lacking}, which the policy expects."
            note(f"slice {lacking}", "fail", 0, 1, message)
    if len(large) > slices.MOST_SLICES:
        divided.checks.append(_too_many(one, policy, len(large), slices.MOST_SLICES))
        return
    if small:
        message = f"{len(small)} slices of {title} have fewer than {least} rows: not judged."
        note(f"small slices of {title}", "skipped", len(small), least, message)
    if not large:
        message = f"No slice of {title} has {least} rows."
        note(f"slices of {title}", "inconclusive", 0, 1, message)
    divided.small += [(part, policy.require) for part in small[:MOST_LISTED]]
    judged = [row for part in large for row in of_part(chosen, one, policy, part)]
    if large and not judged:
        message = (
            f"Nothing is asked of the slices of {title}: they need a metric that is compared with "
            "the champion, or require: true."
        )
        note(f"slices of {title}", "inconclusive", 0, 1, message)
    divided.rows += judged


def of_part(
    chosen: Sequence[Chosen], one: PairedSet, policy: Slice, part: slices.Part
) -> list[Row]:
    """Return the rows of one part of a slice."""
    found = []
    for item in chosen:
        if policy.metrics is not None and item.name not in policy.metrics:
            continue
        row = Row(paired=one, chosen=item, part=part)
        if policy.require:
            row.required = rules.requirements(item.policy, greater=item.greater)
        else:
            local = rules.slice_guardrail(item.policy, greater=item.greater)
            row.guarded = [local] if local else []
        if row.required or row.guarded:
            found.append(row)
    return found


# --- Measuring and judging ---------------------------------------------------------------------


def measure(found: Sequence[Row], terms: Terms) -> None:
    """Compute every row's comparison."""
    size = sum(len(row.part.rows) if row.part else len(row.paired) for row in found if row.guarded)
    keep = size <= MOST_INFLUENCES

    def one(row: Row) -> None:
        row.measure(terms, influence=keep and bool(row.guarded))

    # Whole sets first and alone: what they sort once is kept for the slices.
    for row in found:
        if row.part is None:
            one(row)
    parts = [row for row in found if row.part is not None]
    # NumPy lets go of the lock; more than four threads mostly need more memory.
    with concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(one, parts))


def settle(guardrails: Sequence[Guardrail], alpha: float) -> None:
    """Judge all guardrails together, at the level ``alpha`` for the whole family (Holm 1979)."""
    corrected = multiplicity.holm([guardrail.p_value for guardrail in guardrails])
    for guardrail, p_value in zip(guardrails, corrected, strict=True):
        guardrail.settle(p_value, alpha, len(guardrails))


def show_together(found: Sequence[Row], terms: Terms) -> None:
    """Give the guarded numbers intervals that hold all together."""
    guarded = [(row, estimate) for row in found if (estimate := row.guarded_estimate()) is not None]
    estimates = [estimate for _, estimate in guarded]
    if not estimates:
        return
    alpha = 1 - terms.confidence
    if all(estimate.influence is not None for estimate in estimates):
        score = multiplicity.critical_score(
            estimates, confidence=terms.confidence, resamples=terms.resamples, seed=terms.seed
        )
    else:
        score = float(-ndtri(alpha / 2 / len(estimates)))
    for row, estimate in guarded:
        row.simultaneous = (
            min(estimate.curve.value(-score), estimate.estimate),
            max(estimate.curve.value(score), estimate.estimate),
        )


# --- Tables ------------------------------------------------------------------------------------


def interval(
    estimate: Estimate | None, bounds: tuple[float, float] | None = None
) -> dict[str, float] | None:
    """Return an estimate as it stands in evidence, with other bounds where they are given."""
    if estimate is None:
        return None
    low, high = bounds or (estimate.low, estimate.high)
    return {"estimate": estimate.estimate, "low": low, "high": high}


def as_metric(row: Row) -> dict[str, Any]:
    """Return a row of ``metrics`` in ``gate.json``.

    Where only guardrails stand, as on the frozen set, the guarded number's interval is
    simultaneous, and the smallest loss that would be noticed is there.
    """
    method = None
    if row.comparison:
        method = (row.comparison.difference or row.comparison.candidate).method
    return {
        "set": row.paired.name,
        "metric": row.chosen.name,
        "greater_is_better": row.chosen.greater,
        **_numbers(row, bounds=None if row.required else row.simultaneous),
        "requirement": row.requirement,
        "against": row.against,
        "method": method,
        "detectable_loss": _detectable(row),
    }


def as_slice(row: Row) -> dict[str, Any]:
    """Return a row of ``slices``: of a guardrail, the guarded number's interval is simultaneous."""
    part = row.part
    if part is None:
        raise ValueError("not a slice")
    return {
        "set": row.paired.name,
        "slice": part.name,
        "columns": part.columns,
        "cut": part.cut,
        "rows": len(part.rows),
        "groups": groups(row.paired, part),
        "metric": row.chosen.name,
        "greater_is_better": row.chosen.greater,
        **_numbers(row, bounds=row.simultaneous),
        "requirement": row.requirement,
        "required": bool(row.required),
        "detectable_loss": _detectable(row),
    }


def _detectable(row: Row) -> object:
    """Return the smallest loss that the row's guardrail would notice, if it has one."""
    noticed = (item.get("detectable_loss") for item in row.checks)
    return next((value for value in noticed if value is not None), None)


def _numbers(row: Row, bounds: tuple[float, float] | None) -> dict[str, Any]:
    numbers: Mapping[str, Any] = {"candidate": None, "champion": None, "difference": None}
    if row.comparison:
        guarded = row.guarded_estimate()
        numbers = {
            side: interval(
                estimate := getattr(row.comparison, side), bounds if estimate is guarded else None
            )
            for side in numbers
        }
    return {
        **numbers,
        "status": row.status,
        **({"reason": row.problem} if row.problem else {}),
    }


def as_small(one: PairedSet, part: slices.Part, *, required: bool) -> dict[str, Any]:
    """Return the row of a slice that was too small to be judged."""
    return {
        "set": one.name,
        "slice": part.name,
        "columns": part.columns,
        "cut": part.cut,
        "rows": len(part.rows),
        "groups": groups(one, part),
        "metric": None,
        "greater_is_better": None,
        "candidate": None,
        "champion": None,
        "difference": None,
        "status": "skipped",
        "requirement": "",
        "required": required,
        "detectable_loss": None,
    }


def groups(one: PairedSet, part: slices.Part) -> int | None:
    """Return the number of groups in a part, or ``None`` where rows are independent."""
    group = None if one.candidate is None else one.candidate.group
    return None if group is None else len(np.unique(group[part.rows]))
