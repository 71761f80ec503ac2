"""The report in Markdown, as GitHub shows it, and its short form for a comment."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from mlops_actions.report import words
from mlops_actions.report.findings import NOTHING, Check, Comparison, Findings
from mlops_actions.report.reading import Interval, plain_number

SIGNS = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️", "skipped": "\N{HEAVY MINUS SIGN}"}
_MOST_ROWS = 100  # Of a table; the HTML report has more.
_MOST_CHARTS = 3
_MOST_IN_CHART = 12
_ADDRESS = re.compile(r"https?://[\w./:%#?=&+~-]+")
_LABEL = 24  # Characters of a label in a chart.

# What Markdown, a table cell or HTML would act on; an entity is read back as text only.
_ACTIVE = re.compile(r"[&<>|`*\[\]\\~]")
_NO_BREAK = "&#8203;"  # A zero-width space ends what GitHub would make a link or an image of.
_SIGHT = re.compile(
    r"(?P<mention>@(?=\w))|(?P<issue>#(?=\d)|(?<=\bGH)-(?=\d))|(?P<link>:(?=//))"
    r"|(?P<www>\b[wW]{3}(?=\.))|(?P<emoji>:(?=(?:[a-zA-Z][\w+-]*|[+-]1|100|1234):))"
)
# Headings, lists and rules begin a line; an underscore inside a word is one.
_EDGE = re.compile(
    r"^(?:#(?=#*(?:\s|$))|[+-](?=\s|$)|[=-](?=[=-]*$)|\d+(?=[.)](?:\s|$)))|^_|_$|(?<=\W)_|_(?=\W)"
)
# A chart's labels are quoted; what could end the quotes, or is a code of Mermaid's, goes.
_UNQUOTABLE = re.compile(r"[^\w .,=+\-/()%]")


def escape(value: object) -> Markup:
    """Make text inert in Markdown: shown as it is, and nothing but shown.

    Source of what GitHub acts on: GitHub Flavored Markdown, and "Autolinked references and URLs".
    """
    if isinstance(value, Markup):
        return value
    text = _ACTIVE.sub(lambda found: f"&#{ord(found[0])};", str(value))
    # The entities above have # and digits of their own: only what stands outside them is broken.
    parts = re.split(r"(&#\d+;)", text)
    parts[::2] = [_SIGHT.sub(lambda found: found[0] + _NO_BREAK, part) for part in parts[::2]]
    text = "".join(parts).replace("$", "<span>$</span>")
    return Markup(_EDGE.sub(lambda found: _entity(found[0]), text))  # noqa: S704 - escaped.


def _entity(text: str) -> str:
    if text[-1:].isdigit():  # "1." begins a list.
        return f"{text}{_NO_BREAK}"
    return f"&#{ord(text)};"


def code(value: object) -> Markup:
    """Show text as it would be typed. GitHub makes no mentions or links inside."""
    text = re.sub(r"[&<>|`*_\[\]\\~\"'$:{}]", lambda found: f"&#{ord(found[0])};", str(value))
    return Markup(f"<code>{text}</code>")  # noqa: S704 - escaped.


def _finalize(value: object) -> object:
    # The environment escapes for HTML what is no Markup: ours is the stricter escape.
    if isinstance(value, jinja2.Undefined):
        return value
    return NOTHING if value is None else escape(value)


def label(value: str) -> str:
    """Make text fit for a quoted label of a Mermaid chart."""
    text = _UNQUOTABLE.sub("·", value)
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"


def _mermaid(title: str, lines: Sequence[str], *, kind: str, colours: str, height: int) -> Markup:
    # The configuration of a chart stands in its first line, as JSON.
    head = (
        f'%%{{init: {{"xyChart": {{"width": 760, "height": {height}, "titleFontSize": 15}}, '
        f'"themeVariables": {{"xyChart": {{"plotColorPalette": "{colours}"}}}}}}}}%%'
    )
    body = "\n".join(f"  {text}" for text in (f'title "{label_line(title)}"', *lines))
    return Markup(f"```mermaid\n{head}\n{kind}\n{body}\n```")  # noqa: S704 - labels only.


def label_line(value: str) -> str:
    """Make text fit for a title of a Mermaid chart."""
    return _UNQUOTABLE.sub("·", value)[:100]


def _axis(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.15 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _plain(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.8g}" for value in values)


def metric_chart(one: Comparison, baseline: str | None) -> Markup | None:
    """Draw a metric's intervals: each bar is dark up to the lower bound, pale up to the upper."""
    bars = [("candidate", one.candidate)]
    if one.champion is not None:
        name = (baseline or "champion").removeprefix("the ")
        bars.insert(0, (name, one.champion))
    kept = [(name, value) for name, value in bars if value is not None and value.finite]
    if not kept or len(kept) != len(bars):
        return None
    values = [bound for _, value in kept for bound in (value.low, value.high)]
    limit = one.value_limit if one.value_limit is not None else math.nan
    drawn = math.isfinite(limit)
    low, high = _axis([*values, limit] if drawn else values)
    if not all(abs(value) < 1e12 for value in (low, high)):  # noqa: PLR2004 - no such scale.
        return None
    names = ", ".join(f'"{label(name)}"' for name, _ in kept)
    tops, ends = [value.high for _, value in kept], [value.low for _, value in kept]
    if drawn and len(kept) == 1:  # A line needs a second place to go to.
        names, tops, ends = f'"threshold", {names}', [limit, *tops], [limit, *ends]
    lines = [
        f"x-axis [{names}]",
        f"y-axis {low:.6g} --> {high:.6g}",
        f"bar [{_plain(tops)}]",
        f"bar [{_plain(ends)}]",
    ]
    if drawn:
        lines.append(f"line [{_plain([limit] * len(tops))}]")
    return _mermaid(
        f"{one.metric} on {one.set}" + (", and its threshold" if drawn else ""),
        lines,
        kind="xychart-beta horizontal",
        colours="#9ecbff, #1f6feb, #cf222e",
        height=90 + 60 * len(tops),
    )


def slice_chart(slices: Sequence[Comparison]) -> Markup | None:
    """Draw the differences of slices in one metric, the worst first, with the limit."""
    kept: list[tuple[Comparison, Interval]] = []
    for one in slices:
        value = one.difference
        if one.slice and value is not None and value.finite and one.metric == slices[0].metric:
            kept.append((one, value))
    if len(kept) < 2:  # noqa: PLR2004 - one point is no line.
        return None
    greater = kept[0][0].greater_is_better is not False
    kept.sort(key=lambda pair: pair[1].estimate if greater else -pair[1].estimate)
    kept = kept[:_MOST_IN_CHART]
    limit = kept[0][0].difference_limit
    bounds = [bound for _, value in kept for bound in (value.low, value.high)]
    low, high = _axis([*bounds, limit or 0.0, 0.0])
    if not all(abs(value) < 1e12 for value in (low, high)):  # noqa: PLR2004 - no such scale.
        return None
    names = ", ".join(f'"{label(one.slice or "")}"' for one, _ in kept)
    lines = [
        f"x-axis [{names}]",
        f"y-axis {low:.6g} --> {high:.6g}",
        f"line [{_plain([value.low for _, value in kept])}]",
        f"line [{_plain([value.estimate for _, value in kept])}]",
        f"line [{_plain([value.high for _, value in kept])}]",
    ]
    if limit is not None and math.isfinite(limit):
        lines.append(f"line [{_plain([limit] * len(kept))}]")
    return _mermaid(
        f"{kept[0][0].metric} by slice, candidate minus champion",
        lines,
        kind="xychart-beta horizontal",
        colours="#8b949e, #1f6feb, #8b949e, #cf222e",
        height=100 + 28 * len(kept),
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mlops_actions.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "code": code, "short": _short, "count": count, "plural": plural, "lines": _lines,
    }  # fmt: skip
    return environment


def _lines(value: str | Sequence[str]) -> Markup:
    parts = [value] if isinstance(value, str) else value
    return Markup("<br>").join(escape(part) for part in parts)


def _short(digest: str | None) -> Markup | str:
    return code(digest[:12]) if digest else NOTHING


def link(address: object) -> Markup | None:
    """Link a plain http(s) address; anything else is no link."""
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        return None
    return Markup(f"[{address}]({address})")  # noqa: S704 - no character of it is active.


def count(value: int | None) -> str:
    """Write a count: ``48,211``."""
    return NOTHING if value is None else f"{value:,}"


def plural(things: Sequence[object], one: str) -> str:
    """Count things in words: ``1 check``, ``12 checks``."""
    return f"{len(things):,} {one}{'' if len(things) == 1 else 's'}"


def sections(findings: Findings) -> dict[str, Any]:
    """Give what both templates need, in the order it is read."""
    # Rows of slices: one for each metric. What is not good is never folded.
    return {
        "findings": findings,
        "verdict_line": words.verdict_line(findings),
        "headline": words.headline(findings),
        "reasons": words.reasons(findings),
        "signs": SIGNS,
        "number": plain_number,
        "direction": words.direction,
        "noticed": words.noticed,
        "bad_slices": [s for s in findings.slices if s.status in {"fail", "inconclusive"}],
        "good_slices": [s for s in findings.slices if s.status == "pass"],
        "lone_slices": [s for s in findings.slices if not s.decides and s.measured],
        "small_slices": [s for s in findings.slices if not s.decides and not s.measured],
        "bad_checks": _of_data(findings, {"fail", "inconclusive"}),
        "good_checks": _of_data(findings, {"pass", "skipped"}),
        "gate_checks": findings.of_stage("gate"),
        "tables": findings.tables,
        "drawn": list(dict.fromkeys(curve.title for curve in findings.curves)),
        "other_checks": [c for c in findings.checks if c.stage in {"train", "score"}],
    }


def _of_data(findings: Findings, statuses: set[str]) -> list[Check]:
    return [check for check in findings.of_stage("validate") if check.status in statuses]


def render(findings: Findings, **context: object) -> str:
    """Write the report.

    ``context`` has ``commit``, ``run_url``, ``restricted`` and ``pull_request``.
    """
    charts: list[Markup] = []
    for one in (row for row in findings.metrics if not row.anchored):
        chart = metric_chart(one, findings.baseline) if len(charts) < _MOST_CHARTS else None
        if chart:
            charts.append(chart)
    judged = [one for one in findings.slices if one.decides]
    text = (
        _environment()
        .get_template("report.md.jinja")
        .render(
            sections(findings),
            charts=charts,
            slice_chart=slice_chart(judged) if judged else None,
            most=_MOST_ROWS,
            link=link,
            **context,
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def comment(markdown: str, *, limit: int, link: str | None = None) -> str:
    """Cut a report between sections to at most ``limit`` characters; see the package."""
    good = link if link and _ADDRESS.fullmatch(link) else None
    full = f"\n[Full report]({good})\n" if good else ""
    if len(markdown) + len(full) <= limit:
        return markdown + full
    head, *rest = _split(markdown)
    where = f"[the full report]({good})" if good else "the full report"
    room: Callable[[list[str]], str] = lambda names: (  # noqa: E731 - one line, used twice.
        f"\nLeft out for length: {', '.join(names)}. All of it is in {where}.\n"
    )
    left = [_title(part) for part in rest]
    kept = [head]
    for part in rest:
        # A section stays when it fits with the note about those that would then be left out.
        without = [name for name in left if name != _title(part)]
        if sum(map(len, kept)) + len(part) + len(room(without or [""])) <= limit:
            kept.append(part)
            left = without
    text = "".join(kept) + (room(left) if left else full)
    if len(text) <= limit:
        return text
    # Even the verdict and its reasons are too long: whole lines of them.
    note = f"\n\nAll of it is in {where}.\n"
    lines: list[str] = []
    for line in head.splitlines():
        if sum(len(kept) + 1 for kept in lines) + len(line) + len(note) > limit:
            break
        lines.append(line)
    return ("\n".join(lines) + note)[:limit]


def _split(markdown: str) -> list[str]:
    """Split before each heading of a section that does not stand in a fence."""
    parts = [""]
    fenced = False
    for line in markdown.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        if line.startswith("#### ") and not fenced:
            parts.append("")
        parts[-1] += line
    return parts


def _title(section: str) -> str:
    return section.partition("\n")[0].removeprefix("#### ")
