"""Tables of what the gate judged besides metrics, read with the same distrust as the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mlops_actions.report.findings import NOTHING, STATUSES, Check, Table
from mlops_actions.report.reading import (
    Interval,
    items,
    mapping,
    number,
    objects,
    plain_number,
    text,
)

_KINDS = {"row": "one row", "batch": "a batch"}


def tables(gate: Mapping[str, Any], checks: Collection[Check]) -> tuple[Table, ...]:
    """Give the tables that the gate's evidence has something for."""
    found = (
        _changes(mapping(gate.get("policy_changes"))),
        _identity(checks),
        _behaviour(checks),
        _latency(mapping(gate.get("latency")), checks),
        _importance(mapping(gate.get("explanation"))),
    )
    return tuple(table for table in found if table is not None and table.rows)


def _of(checks: Collection[Check], *starts: str) -> Iterator[Check]:
    return (
        check
        for check in sorted(checks, key=lambda check: STATUSES.index(check.status))
        if check.stage == "gate" and check.name.startswith(starts)
    )


def _changes(section: Mapping[str, Any]) -> Table | None:
    approval = mapping(section.get("approval"))
    who = text(approval.get("who"))
    caption = "Compared with the base branch. What is not stricter needs someone else's approval."
    if who:
        caption = f"Compared with the base branch; approved by {who}."
    rows = []
    for item in objects(section.get("changes")):
        effect = text(item.get("effect")) or NOTHING
        rows.append((effect, (text(item.get("text")) or NOTHING).removesuffix(f" ({effect})")))
    return Table(
        title="Policy changes", caption=caption, heads=("Effect", "Change"), rows=tuple(rows)
    )


def _identity(checks: Collection[Check]) -> Table:
    starts = ("identity: ", "release: wear", "release: record")
    return Table(
        title="Identity and wear",
        caption="Two models that are two, the same rows on both sides, none of them seen before; "
        "and how often the release set has decided.",
        heads=("", "Check", "Found", "Required"),
        rows=tuple(_plain(check) for check in _of(checks, *starts)),
    )


def _plain(check: Check) -> tuple[str, ...]:
    name = check.name.removeprefix("identity: ")
    return check.status, name, _digest(check.observed), _digest(check.required)


def _digest(value: str | None) -> str:
    """Shorten what may hold a digest."""
    words = (value or NOTHING).split(" ")
    return " ".join(word[:12] if len(word) == 64 else word for word in words)  # noqa: PLR2004


def _behaviour(checks: Collection[Check]) -> Table:
    rows = []
    for check in _of(checks, "behaviour"):
        shown = tuple(
            ", ".join(
                f"{column}={value if value is not None else 'null'}"
                for column, value in zip(check.columns, row, strict=True)
            )
            for row in check.examples
        )
        name = check.name.removeprefix("behaviour: ")
        rows.append((check.status, name, _broken(check), shown or NOTHING))
    return Table(
        title="Behaviour",
        caption="What a change of the input does to the answer; rows of the cases that fail.",
        heads=("", "Case", "Found", "Rows"),
        rows=tuple(rows),
    )


def _broken(check: Check) -> str:
    """Say what a case found: how many answers break it, or how many tests passed."""
    case = check.name.removeprefix("behaviour: ").partition(": ")[2]
    if check.message:
        return check.message.removeprefix(f"Behaviour, {case}: ")
    if check.rows is None or check.found is None or not 0 <= check.found <= 1:
        return f"{check.observed or NOTHING} of {check.required or NOTHING} tests passed"
    return f"{round(check.found * check.rows):,} of {check.rows:,} answers break it"


_ONCE = {"load": ("loading", "s"), "memory": ("peak memory", "B"), "size": ("model size", "B")}


def _latency(section: Mapping[str, Any], checks: Collection[Check]) -> Table:
    rows = [_cost(check) for check in _of(checks, "latency")]
    for item in objects(section.get("times")):
        ratio = Interval.of(item.get("ratio"))
        what = text(item.get("what")) or ""
        rows.append(
            (
                "",
                f"{text(item.get('quantile')) or NOTHING} of {_KINDS.get(what, what)}",
                _amount(item.get("candidate"), "ms"),
                _amount(item.get("champion"), "ms"),
                str(ratio) if ratio else NOTHING,
                NOTHING,
            )
        )
    once = mapping(section.get("once"))
    for key, (title, unit) in _ONCE.items():
        mine, other = (mapping(once.get(side)).get(key) for side in ("candidate", "champion"))
        if number(mine) is not None:
            rows.append(("", title, _amount(mine, unit), _amount(other, unit), NOTHING, NOTHING))
    return Table(
        title="Latency",
        caption="Measured in turns. First what is asked, then everything that was measured.",
        heads=("", "What", "Candidate", "Champion", "Ratio", "At most"),
        rows=tuple(rows),
    )


_UNITS = {", bytes": "B", ", s": "s", ", ratio": ""}


def _cost(check: Check) -> tuple[str, ...]:
    """Give the row of a rule: what was found, and what is allowed."""
    name = check.name.removeprefix("latency: ")
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "ms")
    if check.value:
        found = str(check.value) + (f" {unit}" if unit else "")
    else:
        found = _amount(check.found, unit)
    for end in _UNITS:
        name = name.removesuffix(end)
    values = (NOTHING, NOTHING, found) if not unit else (found, NOTHING, NOTHING)
    return check.status, name, *values, _amount(check.bound, unit)


def _amount(value: object, unit: str) -> str:
    """Write a number with its unit: ``3.51 ms``, ``214 MB``."""
    found = number(value)
    if found is None:
        return NOTHING
    if unit == "B":
        scale, prefix = next(
            ((size, word) for size, word in _PREFIXES if abs(found) >= size), (1, "")
        )
        return f"{plain_number(found / scale)} {prefix}B"
    return f"{plain_number(found)} {unit}".strip()


_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def _importance(section: Mapping[str, Any]) -> Table | None:
    moved = [
        f"{name} ({change:+.3g})"
        for item in items(section.get("moved"))
        if (name := text(mapping(item).get("column")))
        and (change := number(mapping(item).get("change"))) is not None
    ]
    caption = f"How much {text(section.get('metric'))} loses when a column is permuted."
    if moved:
        caption += f" Moved most against the champion: {', '.join(moved[:3])}."
    return Table(
        title="Explanation",
        caption=caption,
        heads=("Column", "Candidate", "Champion", "Share"),
        rows=tuple(
            (
                text(item.get("column")) or NOTHING,
                str(Interval.of(item.get("candidate")) or NOTHING),
                str(Interval.of(item.get("champion")) or NOTHING),
                str(Interval.of(item.get("share")) or NOTHING),
            )
            for item in objects(section.get("columns"))
        ),
    )
