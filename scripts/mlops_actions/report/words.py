"""The verdict and its reasons, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlops_actions.report.findings import GOOD, NOTHING, Check, Comparison, Findings, Gap
from mlops_actions.report.reading import Interval, plain_number

_SIGNS = {"unchanged": "✅", "passed": "✅", "blessed": "✅", "inconclusive": "⚠️"}
_MOST_REASONS = 10
_MOST_NAMED = 6
_AT = {"validate": "data validation", "train": "training", "score": "scoring"}
# Stages before the gate whose failure is the real reason behind the gate's verdict.
_BEFORE = ("validate", "train", "score")


def verdict_line(findings: Findings) -> str:
    """Say the verdict in one line of plain text: ``❌ flights: rejected``."""
    odd = findings.mode != "enabled" or findings.override
    sign = "⚠️" if odd else _SIGNS.get(findings.verdict, "❌")
    return f"{sign} {headline(findings)}"


def headline(findings: Findings) -> str:
    """Say the verdict without its sign."""
    good = findings.verdict in GOOD
    note = ""
    if findings.mode != "enabled":
        dry = findings.mode == "dry_run"
        note = " (dry run: stops nothing)" if dry else " (the gate is switched off: stops nothing)"
    elif findings.override:
        note = " (overruled)"
    elif good and findings.bootstrap:
        note = " (first model)"
    elif findings.smoke:
        note = " (smoke run)"
    elif not good and findings.blamed:
        note = f" ({_AT[findings.blamed]})"
    return f"{findings.model}: {findings.verdict}{note}"


def reasons(findings: Findings) -> list[str]:
    """Say why, one sentence a reason, the gravest first."""
    if findings.stage is None:
        result = [*findings.problems]
        if not findings.stages and not result:
            result.append("The run left no result: it ended before the data was validated.")
        elif not result:
            result.append(f"The run ended after {findings.stages[-1][0]}: the gate left no result.")
        return result
    if findings.verdict in GOOD and not findings.override:
        return [*_good(findings), *findings.problems]
    result = [sentence(check, findings) for check in _decisive(findings)]
    if findings.override:
        said = [check.message for check in findings.of_stage("gate") if check.name == "override"]
        result = [*(message for message in said if message), *result]
    result = list(dict.fromkeys(result)) or [f"The stage {findings.stage} gave no reason."]
    if len(result) > _MOST_REASONS:
        left = len(result) - _MOST_REASONS + 1
        result = [*result[: _MOST_REASONS - 1], f"And {left:,} more, below."]
    return [*result, *findings.problems]


def _decisive(findings: Findings) -> list[Check]:
    """The checks that made the verdict: of the stage that broke first, else the gate's."""
    if findings.blamed:
        bad = [c for c in findings.of_stage(findings.blamed) if c.status == "fail"]
        if bad:
            # What only the gate knows still counts, such as what a maintainer can do about it.
            repeated = ("data", "training")
            return bad + [
                c
                for c in findings.of_stage("gate")
                if c.status in {"fail", "inconclusive"} and c.name not in repeated
            ]
    checks = findings.of_stage(findings.stage or "gate")
    failing = [check for check in checks if check.status == "fail"]
    if failing and findings.verdict != "inconclusive":
        return _varied(failing)
    return _varied([check for check in checks if check.status == "inconclusive"] or failing)


def _varied(checks: Sequence[Check]) -> list[Check]:
    """Put one check of each kind first: forty slices must not hide that data leaked."""
    kinds: dict[str, list[Check]] = {}
    for check in checks:
        kind = "metric" if check.rule else check.name.partition(":")[0]
        kinds.setdefault("slice" if check.slice else kind, []).append(check)
    first = [group[0] for group in kinds.values()]
    return first + [check for group in kinds.values() for check in group[1:]]


def _good(findings: Findings) -> list[str]:
    if findings.verdict == "unchanged":
        messages = [check.message for check in findings.of_stage(findings.stage or "gate")]
        return [message for message in messages if message][:2] or [
            "Nothing new to judge: the candidate says of every row what the registered model says."
        ]
    shown = [
        sentence(check, findings)
        for check in findings.of_stage("gate")
        if check.rule and check.slice is None and check.status == "pass"
    ]
    result = shown[:_MOST_NAMED]
    if len(shown) > len(result):
        left = len(shown) - len(result)
        result.append(f"{left} more requirement{' holds' if left == 1 else 's hold'}.")
    judged = [one for one in findings.slices if one.decides]
    if judged:
        names = len({one.slice for one in judged})
        result.append(f"No violation is shown in {names:,} {'slice' if names == 1 else 'slices'}.")
    return result or ["Every check passed."]


def sentence(check: Check, findings: Findings) -> str:
    """Say what a check found.

    ``roc_auc is 0.012 to 0.020 worse than the champion (version 3); at most 0.005 is allowed.``
    The gate's rules are put in these words; elsewhere a check's own message stands.
    """
    greater = findings.direction(check)
    row = findings.row(check)
    value = check.value
    if row and check.rule in {"non_inferiority_margin", "min_absolute_change"}:
        value = row.difference or value  # Of a slice, with bounds that hold for all together.
    # A guardrail that is open has its own reason: too large a loss would go unnoticed.
    told = check.guardrail and check.status == "inconclusive" and check.message
    if told or check.rule not in _RULES or not value or check.bound is None or greater is None:
        if check.message:
            return check.message
        if check.observed is None and check.required is None:
            return f"{check.name}: {check.status}."
        return (
            f"{check.name}: {check.observed or 'nothing'}; required: {check.required or NOTHING}."
        )
    what = check.metric or "The metric"
    if check.slice:
        what += f" on {check.slice}"
    if len(findings.sets) > 1:
        what += f" ({check.set})"
    tail = _RULES[check.rule].format(bound=_bound(check), side="at least" if greater else "at most")
    open_ended = check.status == "inconclusive" and value.finite
    tail += "; the interval leaves that open." if open_ended else "."
    if check.rule == "threshold":
        return f"{what} is {_range(value)}; {tail}"
    change = _change(value, greater=greater, relative=check.rule == "min_relative_change")
    other = findings.baseline or "the champion"
    if check.rule == "anchor":
        other = "the best earlier model (the anchor)"
    return f"{what} is {change} {other}; {tail}"


_RULES = {
    "threshold": "{side} {bound} is required",
    "non_inferiority_margin": "at most {bound} worse is allowed",
    "anchor": "at most {bound} worse is allowed",
    "min_absolute_change": "more than {bound} better is required",
    "min_relative_change": "more than {bound} better is required",
    "max_absolute_change": "more than {bound} better is suspicious, as a leak would be",
}


def _bound(check: Check) -> str:
    bound = check.bound or 0.0
    if check.rule == "threshold":
        return plain_number(bound)
    if check.rule == "min_relative_change":
        return f"{plain_number(abs(bound) * 100)} %"
    return plain_number(abs(bound))


def _range(value: Interval) -> str:
    low, high = (plain_number(bound, value.decimals) for bound in (value.low, value.high))
    return f"{low} to {high}" if value.finite else str(value)


def _change(value: Interval, *, greater: bool, relative: bool) -> str:
    """Say a difference, ``low`` to ``high``, in the direction that the metric has."""
    scale = 100 if relative else 1
    sign = 1 if greater else -1
    low, high = sorted((sign * value.low * scale, sign * value.high * scale))
    if math.isnan(low) or math.isnan(high):
        return "of unknown difference to"
    decimals = max(0, value.decimals - (2 if relative else 0))
    unit = " %" if relative else ""

    def show(bound: float) -> str:
        return plain_number(abs(bound), decimals) + unit

    if low == high == 0:
        return "the same as that of"
    if low >= 0:
        return f"{show(low)} to {show(high)} better than"
    if high <= 0:
        return f"{show(high)} to {show(low)} worse than"
    return f"between {show(low)} worse and {show(high)} better than"


def direction(one: Comparison) -> str:
    """Say which way a metric is better."""
    if one.greater_is_better is None:
        return NOTHING
    return "higher is better" if one.greater_is_better else "lower is better"


def noticed(one: Comparison | Gap) -> str:
    """Say from which size on a loss or a gap would have been noticed, with 80 % power."""
    loss = one.detectable_loss
    if loss is None:
        return NOTHING
    if isinstance(one, Gap) and one.ratio:
        return f"below {plain_number(1 - loss, 3)}" if loss < 1 else "nothing"
    return f"from {plain_number(loss, 3)}" if math.isfinite(loss) else "nothing"
