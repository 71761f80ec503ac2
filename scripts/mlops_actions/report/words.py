"""The verdict and its reasons, in words."""

from __future__ import annotations

import math

from mlops_actions.report.findings import (
    GOOD,
    NOTHING,
    Check,
    Comparison,
    Findings,
    Interval,
    plain_number,
)

_SIGNS = {"unchanged": "✅", "passed": "✅", "blessed": "✅", "inconclusive": "⚠️"}
_MOST_REASONS = 10
_MOST_NAMED = 4
_AT = {"validate": "data validation", "train": "training", "score": "scoring"}
# Stages before the gate whose failure is the real reason behind the gate's verdict.
_BEFORE = ("validate", "train", "score")


def verdict_line(findings: Findings) -> str:
    """Say the verdict in one line of plain text: ``❌ flights: rejected``."""
    good = findings.verdict in GOOD
    sign = _SIGNS.get(findings.verdict, "❌")
    note = ""
    if findings.mode != "enabled":
        dry = findings.mode == "dry_run"
        note = " (dry run: stops nothing)" if dry else " (the gate is switched off: stops nothing)"
        sign = "⚠️"
    elif good and findings.bootstrap:
        note = " (first model: there was nothing to compare with)"
    elif findings.smoke:
        note = " (smoke run)"
    elif not good and findings.blamed:
        note = f" ({_AT[findings.blamed]})"
    return f"{sign} {findings.model}: {findings.verdict}{note}"


def reasons(findings: Findings) -> list[str]:
    """Say why, one sentence a reason, the gravest first."""
    if findings.stage is None:
        result = [*findings.problems]
        if not findings.stages and not result:
            result.append("The run left no result: it ended before the data was validated.")
        elif not result:
            result.append(f"The run ended after {findings.stages[-1][0]}: the gate left no result.")
        return result
    if findings.verdict in GOOD:
        return [*_good(findings), *findings.problems]
    result = [sentence(check, findings) for check in _decisive(findings)]
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
        return failing
    return [check for check in checks if check.status == "inconclusive"] or failing


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
        result.append(f"And {len(shown) - len(result)} more requirements hold.")
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
    if check.rule not in _RULES or check.value is None or check.bound is None or greater is None:
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
    open_ended = check.status == "inconclusive" and check.value.finite
    tail += "; the interval leaves that open." if open_ended else "."
    if check.rule == "threshold":
        return f"{what} is {_range(check.value)}; {tail}"
    change = _change(check.value, greater=greater, relative=check.rule == "min_relative_change")
    return f"{what} is {change} {findings.baseline or 'the champion'}; {tail}"


_RULES = {
    "threshold": "{side} {bound} is required",
    "non_inferiority_margin": "at most {bound} worse is allowed",
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
