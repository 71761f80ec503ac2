"""The verdict on an image in Markdown, and as lines for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mlops_actions.report.markdown import escape
from mlops_actions.scan.policy import Judged, Judgement, WaiverState

_MOST_ROWS = 50  # Of a table: GitHub cuts a summary off at 1 MiB.
_LONGEST = 120  # Characters of a cell; a title may be a paragraph.
_SYSTEM = re.compile(r" \(([^()]+)\)$")
_ADDRESS = re.compile(r"https://[\w.-]+(?:/[\w./%#?=+~:-]*)?")


def _text(value: object) -> str:
    # Control characters would end a table's row, or colour a terminal.
    return escape(re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", str(value or "")).strip())


def _cell(value: object) -> str:
    text = str(value or "")
    return _text(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def address(one: Judged) -> str | None:
    """Where the finding is described, when that is a plain address."""
    return one.finding.url if _ADDRESS.fullmatch(one.finding.url) else None


def place(one: Judged) -> str:
    """Where it was found, with the line of a secret."""
    finding = one.finding
    # Of a layout's system Trivy says where the layout lay: a folder that is gone.
    system = _SYSTEM.search(finding.target) if finding.class_ == "os-pkgs" else None
    where = finding.path or (system[1] if system else finding.target)
    return f"{where}:{finding.line}" if finding.line else where


def _id(one: Judged) -> str:
    known = address(one)
    return f"[{_cell(one.finding.id)}]({known})" if known else _cell(one.finding.id)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return []
    left_out = len(lines) - _MOST_ROWS
    more = ["", f"And {left_out} more, in the evidence."] if left_out > 0 else []
    head = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return ["", *head, *lines[:_MOST_ROWS], *more]


def markdown(judgement: Judgement, image: str | None, notes: Sequence[str] = ()) -> str:
    """Give the summary: failing findings first, waivers with their expiry, counts, the rest.

    ``notes`` are sentences of ours for the end, such as that something was not used.
    """
    sign, word = ("✅", "passed") if judgement.passed else ("❌", "failed")
    lines = [f"### {sign} Scan of the image: {word}"]
    if image:
        lines += ["", f"`{image}`"]
    said = [("", one) for one in judgement.reasons]
    said += [("Warning: ", one) for one in judgement.tolerated]
    lines += [""] * bool(said)
    for head, one in said:
        lines.append(f"- {head}{_cell(one['name'])}: {_text(one.get('message', 'failed'))}")
    lines += _table(
        ["Severity", "Finding", "Package", "Installed", "Fixed in", "Where", "Title", "Why"],
        (
            [
                one.finding.severity,
                _id(one),
                _cell(one.finding.package),
                _cell(one.finding.installed),
                _cell(one.finding.fixed),
                _cell(place(one)),
                _cell(one.finding.title),
                _cell(one.because),
            ]
            for one in judgement.failing
        ),
    )
    lines += _waivers(judgement.waivers)
    warned = [one for one in judgement.findings if one.decision == "warn"]
    if warned:
        lines += ["", "#### Not failing by the policy, and not to be forgotten"]
        lines += _table(
            ["Severity", "Finding", "Where", "Why"],
            (
                [one.finding.severity, _id(one), _cell(place(one)), _cell(one.because)]
                for one in warned
            ),
        )
    counts = judgement.counts()
    lines += ["", "#### Findings"]
    lines += _table(
        ["Severity", "All", "Failing", "Waived", "Warned of", "Listed"],
        (
            [severity, *(str(row[key]) for key in ("total", "fail", "waived", "warn", "listed"))]
            for severity, row in counts.items()
        ),
    )
    listed = [one for one in judgement.findings if one.decision == "listed"]
    if listed:
        lines += ["", f"<details><summary>{len(listed)} only listed by the policy</summary>"]
        lines += _table(
            ["Severity", "Finding", "Package", "Installed", "Fixed in", "Where"],
            (
                [
                    one.finding.severity,
                    _id(one),
                    _cell(one.finding.package),
                    _cell(one.finding.installed),
                    _cell(one.finding.fixed),
                    _cell(place(one)),
                ]
                for one in listed
            ),
        )
        lines += ["", "</details>"]
    for note in notes:
        lines += ["", _text(note)]
    return "\n".join(lines)


def _waivers(waivers: Sequence[WaiverState]) -> list[str]:
    if not waivers:
        return []
    words = {"active": "", "expired": "**expired**: it waives nothing", "unused": "matches nothing"}
    ordered = sorted(waivers, key=lambda one: one.waiver.expires)
    return [
        "",
        "#### Waivers",
        *_table(
            ["Finding", "Only in", "Expires", "Days left", "Owner", "Reason", "Matches", ""],
            (
                [
                    _cell(one.waiver.id),
                    _cell(" ".join(filter(None, (one.waiver.package, one.waiver.target)))),
                    one.waiver.expires.isoformat(),
                    str(one.days_left),
                    _cell(one.waiver.owner),
                    _cell(one.waiver.reason),
                    str(one.matches),
                    words[one.status],
                ]
                for one in ordered
            ),
        ),
    ]


def plain(judgement: Judgement) -> str:
    """Give the verdict and what fails, to be read in a terminal."""
    lines = [f"verdict: {'passed' if judgement.passed else 'failed'}"]
    lines += [f"  {one['name']}: {one.get('message', 'failed')}" for one in judgement.reasons]
    for one in judgement.failing:
        finding = one.finding
        what = " ".join(part for part in (finding.package, finding.installed) if part)
        words = (finding.id, what or place(one), one.because)
        lines.append("  - " + re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", "  ".join(words)))
    waived = sum(one.decision == "waived" for one in judgement.findings)
    lines.append(
        f"findings: {len(judgement.findings)}, {len(judgement.failing)} failing, {waived} waived"
    )
    return "\n".join(lines)
