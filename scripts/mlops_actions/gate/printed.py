"""What the log and the terminal show of a judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_actions import github

if TYPE_CHECKING:
    from mlops_actions.gate.decision import Judgement


def announce(judgement: Judgement) -> None:
    """Say what must not be missed, on GitHub as annotations."""
    for text in judgement.warnings:
        github.warning(text)
    if judgement.stops:
        for text in judgement.reasons[:10]:
            github.error(text)


def table(judgement: Judgement) -> str:
    """Return the verdict, its reasons and the numbers, to be read in a terminal."""
    head = f"verdict: {judgement.verdict}"
    lines = [head if judgement.gated else f"{head} (not gated: {judgement.policy['mode']})"]
    lines += [f"  {reason}" for reason in judgement.reasons[:20]]
    if len(judgement.reasons) > 20:  # noqa: PLR2004
        lines.append(f"  and {len(judgement.reasons) - 20} more")
    if judgement.metrics:
        lines += ["", *_aligned(_HEADS, [_cells(row) for row in judgement.metrics])]
    bad = [row for row in judgement.slices if row["status"] in {"fail", "inconclusive"}]
    if judgement.slices:
        small = sum(row["metric"] is None for row in judgement.slices)
        judged = sum(row["status"] != "skipped" for row in judgement.slices)
        said = f"slices: {judged} judged, {len(bad)} not passed, {small} too small"
        if alone := len(judgement.slices) - judged - small:
            said += f", {alone} without a champion"
        lines += ["", said]
        heads = ("slice", *_HEADS[1:])
        lines += _aligned(heads, [_cells(row, row["slice"]) for row in bad]) if bad else []
    for row in judgement.fairness:
        ours = _number(row["candidate"])
        lines.append(
            f"fairness: {row['rule']} by {row['columns']}: {ours}, champion "
            f"{_number(row['champion'])}; {row['requirement']}: {row['status']}"
        )
    return "\n".join(lines)


_HEADS = ("set", "metric", "candidate", "champion", "difference", "requirement", "status")


def _cells(row: dict[str, Any], first: str | None = None) -> tuple[str, ...]:
    return (
        first or row["set"],
        row["metric"],
        _number(row["candidate"]),
        _number(row["champion"]),
        _number(row["difference"], interval=True),
        row["requirement"],
        row["status"],
    )


def _number(value: dict[str, float] | None, *, interval: bool = False) -> str:
    if value is None:
        return "-"
    if not interval:
        return f"{value['estimate']:.4g}"
    return f"{value['estimate']:+.4g} [{value['low']:+.4g}, {value['high']:+.4g}]"


def _aligned(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]
