"""The plots of the HTML report, as inline SVG.

Text stays text, and what is neither candidate nor champion is drawn in the page's own colour, so
a plot is readable on paper, on white and on black. Importing this module imports Matplotlib.
"""

from __future__ import annotations

import dataclasses
import datetime
import io
import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from mlops_actions.report.findings import Column, Comparison, Curve, Findings
from mlops_actions.report.reading import Interval

_INK = "#010203"  # Stands for the page's text colour until the SVG is written.
_FAINT = "#040506"  # Stands for the page's line colour.
CANDIDATE = "#2f81f7"
CHAMPION = "#8b949e"
LIMIT = "#da3633"
_STATUS = {"fail": LIMIT, "inconclusive": "#bf8700"}
_WIDTH = 8.2  # Inches; the SVG scales to the page.
_MOST_SLICES = 60
_MOST_COLUMNS = 24
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "text.parse_math": False,  # A name may hold dollar signs.
    "legend.frameon": False,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot with the words for those who do not see it."""

    svg: str
    caption: str
    description: str


def draw(findings: Findings) -> dict[str, list[Plot]]:
    """Draw what there is to draw: plots by the section they belong to."""
    with mpl.rc_context(_SETTINGS):
        plots = {
            "metrics": [_metrics(findings)],
            "slices": [_slices(findings, name) for name in _metric_names(findings.slices)],
            "data": [_windows(findings), _columns(findings)],
            "curves": [_curves(curves) for curves in _by_title(findings.curves)],
        }
    return {name: [plot for plot in made if plot] for name, made in plots.items()}


def _svg(figure: Figure, name: str) -> str:
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    # The salt makes the same plot the same text, and keeps the names of two plots apart.
    with mpl.rc_context({"svg.hashsalt": name}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    wide = round(100 * figure.get_figwidth() / _WIDTH)
    head = rf'<svg viewBox="\1" style="width: {wide}%">'
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', head, text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for attribute in (' id="', ' xlink:href="#', "url(#"):
        text = text.replace(attribute, f"{attribute}{name}-")
    text = text.replace(" xlink:href=", " href=")
    return text.replace(_INK, "var(--ink)").replace(_FAINT, "var(--line)")


def _metric_names(comparisons: Sequence[Comparison]) -> list[str]:
    return list(dict.fromkeys(one.metric for one in comparisons if one.decides))


def _good(value: Interval | None) -> bool:
    return value is not None and value.finite and max(abs(value.low), abs(value.high)) < 1e15  # noqa: PLR2004


def _bar(axes: Axes, y: float, value: Interval | None, colour: str, *, wide: bool = False) -> None:
    if value is None or not _good(value):
        return
    axes.plot(
        [value.low, value.high],
        [y, y],
        color=colour,
        linewidth=5 if wide else 2.2,
        alpha=0.55 if wide else 1,
        solid_capstyle="butt",
    )
    axes.plot([value.estimate], [y], marker="o" if wide else "D", color=colour, markersize=5.5)


def _vertical(axes: Axes, limit: float | None, text: str) -> None:
    if limit is None or not math.isfinite(limit):
        return
    axes.axvline(limit, color=LIMIT, linewidth=1.4, linestyle=(0, (4, 2)))
    axes.annotate(
        text,
        (limit, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, 2),
        textcoords="offset points",
        color=LIMIT,
        fontsize=8.5,
    )


def _metrics(findings: Findings) -> Plot | None:
    """Intervals of both models on the left, of their difference on the right, a row a metric."""
    rows = [one for one in findings.metrics if _good(one.candidate) and not one.anchored][:12]
    if not rows:
        return None
    compared = any(_good(one.difference) for one in rows)
    figure = Figure(figsize=(_WIDTH, 0.35 + 1.35 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), 2 if compared else 1, squeeze=False)
    for axes, one in zip(grid, rows, strict=True):
        left = axes[0]
        left.set_title(f"{_cut(one.metric, 24)} on {one.set}", pad=15)
        _bar(left, 0, one.candidate, CANDIDATE, wide=True)
        _bar(left, 1, one.champion, CHAMPION, wide=True)
        both = one.champion is not None
        left.set_yticks([0, 1] if both else [0], ["candidate", "champion"][: 2 if both else 1])
        left.set_ylim(-0.6, 1.6 if both else 0.6)
        _vertical(left, one.value_limit, "threshold")
        left.tick_params(axis="y", length=0)
        left.margins(x=0.12)
        left.locator_params(axis="x", nbins=6)
        if not compared:
            continue
        right = axes[1]
        if not _good(one.difference):
            right.set_axis_off()
            continue
        right.set_title("candidate minus champion", pad=15)
        right.axvline(0, color=_FAINT, linewidth=1)
        _bar(right, 0, one.difference, _STATUS.get(one.status, CANDIDATE), wide=True)
        _vertical(right, one.difference_limit, "limit")
        right.set_yticks([])
        right.spines["left"].set_visible(False)
        right.set_ylim(-1, 1)
        right.margins(x=0.12)
        right.locator_params(axis="x", nbins=4)
    names = ", ".join(one.metric for one in rows)
    return Plot(
        svg=_svg(figure, "metrics"),
        caption="Estimates and intervals of candidate (blue)"
        + (" and champion (grey), and of their difference" if compared else "")
        + "; red: what is required.",
        description=f"Intervals of {names}. The numbers are in the table of metrics.",
    )


def _slices(findings: Findings, metric: str) -> Plot | None:
    """A forest plot: the difference of each slice, or the candidate's value without a champion."""
    rows = [one for one in findings.slices if one.metric == metric and one.slice]
    compared = any(_good(one.difference) for one in rows)
    pairs: list[tuple[Comparison, Interval]] = []
    for one in rows:
        value = one.difference if compared else one.candidate
        if value is not None and _good(value):
            pairs.append((one, value))
    if not pairs:
        return None
    left_out = max(0, len(pairs) - _MOST_SLICES)
    greater = pairs[0][0].greater_is_better is not False
    pairs.sort(key=lambda pair: pair[1].estimate if greater else -pair[1].estimate)
    pairs = pairs[:_MOST_SLICES]
    figure = Figure(figsize=(_WIDTH, 0.9 + 0.27 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    for place, (one, value) in enumerate(pairs):
        _bar(axes, -place, value, _STATUS.get(one.status, CANDIDATE))
    names = [f"{_cut(one.slice or '')}  ({one.rows or 0:,} rows)" for one, _ in pairs]
    axes.set_yticks([-place for place in range(len(pairs))], names)
    axes.set_ylim(-len(pairs) + 0.4, 0.6)
    axes.tick_params(axis="y", length=0)
    if compared:
        axes.axvline(0, color=_FAINT, linewidth=1)
        _vertical(axes, pairs[0][0].difference_limit, "limit")
    else:
        _vertical(axes, pairs[0][0].value_limit, "threshold")
    axes.set_xlabel(f"{metric}: candidate minus champion" if compared else metric)
    axes.grid(axis="x", color=_FAINT, linewidth=0.5, alpha=0.4)
    more = f" The {_MOST_SLICES} worst of {_MOST_SLICES + left_out} are shown." if left_out else ""
    return Plot(
        svg=_svg(figure, f"slices-{_metric_names(findings.slices).index(metric)}"),
        caption=f"{metric} by slice, the worst first; red: a violation is shown.{more}",
        description=f"Intervals of {metric} by slice. The numbers are in the table of slices.",
    )


def _cut(text: str, longest: int = 36) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _when(value: str | None) -> float | None:
    try:
        moment = datetime.datetime.fromisoformat((value or "").replace(" UTC", "+00:00"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return float(date2num(moment))  # type: ignore[no-untyped-call]


def _windows(findings: Findings) -> Plot | None:
    """The evaluation windows on a line of time, and where training ends."""
    spans = [
        (one.name, start, end)
        for one in findings.sets
        if (start := _when(one.first)) is not None and (end := _when(one.last)) is not None
    ]
    cutoff = _when(findings.training.cutoff) if findings.training else None
    if not spans:
        return None
    moments = [moment for _, start, end in spans for moment in (start, end)]
    if cutoff is not None:
        moments.append(cutoff)
    first, last = min(moments), max(moments)
    room = (last - first) * 0.08 or 1.0
    figure = Figure(figsize=(_WIDTH, 0.8 + 0.36 * (len(spans) + (cutoff is not None))))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    names = []
    if cutoff is not None:
        begin = first - room * 3
        axes.barh(0, cutoff - begin, left=begin, height=0.5, color=CHAMPION, alpha=0.7)
        axes.axvline(cutoff, color=CHAMPION, linewidth=1.2, linestyle=(0, (2, 2)))
        names.append("training, until")
        axes.set_xlim(begin, last + room)
    for name, start, end in spans:
        axes.barh(-len(names), max(end - start, room / 20), left=start, height=0.5, color=CANDIDATE)
        names.append(name)
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.tick_params(axis="y", length=0)
    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    return Plot(
        svg=_svg(figure, "windows"),
        caption="The windows that the evaluation sets cover; where training begins is not known.",
        description="Windows of time. The dates are in the table of data sets.",
    )


def _columns(findings: Findings) -> Plot | None:
    """Small multiples: each column's shares in training, over the baseline's in outline."""
    columns = sorted(
        findings.columns, key=lambda column: -(column.distance or 0.0) if column.distance else 0.0
    )[:_MOST_COLUMNS]
    if not columns:
        return None
    across = 3
    down = math.ceil(len(columns) / across)
    figure = Figure(figsize=(_WIDTH, 1.75 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(columns):
            axes.set_axis_off()
            continue
        _column(axes, columns[place])
    before = any(column.baseline_counts for column in columns)
    left_out = len(findings.columns) - len(columns)
    more = f" {left_out:,} further columns are not drawn." if left_out > 0 else ""
    return Plot(
        svg=_svg(figure, "columns"),
        caption="Columns of the training data (blue)"
        + (", and of the baseline's (outline; Δ is the distance)" if before else "")
        + ", as shares of rows; the outermost bars of a number are open."
        + more,
        description="Distributions of " + ", ".join(column.name for column in columns) + ".",
    )


def _column(axes: Axes, column: Column) -> None:
    title = _cut(column.name, 26)
    if column.distance is not None and math.isfinite(column.distance):
        title += f"  Δ {column.distance:.3f}"
    axes.set_title(title, fontsize=9)
    if column.labels:
        places = range(len(column.labels))
        axes.bar(places, _shares(column.counts), color=CANDIDATE, alpha=0.75, width=0.8)
        if column.baseline_counts:
            axes.bar(
                places,
                _shares(column.baseline_counts),
                facecolor="none",
                edgecolor=_INK,
                width=0.8,
                linewidth=1,
            )
        turned = sum(map(len, column.labels)) > 20  # noqa: PLR2004 - what fits side by side.
        axes.set_xticks(
            list(places), [_cut(text, 12) for text in column.labels], rotation=90 if turned else 0,
            fontsize=7.5,
        )  # fmt: skip
    else:
        heights = _densities(column.counts, column.edges)
        axes.stairs(heights, column.edges, fill=True, color=CANDIDATE, alpha=0.75)
        if column.baseline_counts:
            axes.stairs(
                _densities(column.baseline_counts, column.baseline_edges),
                column.baseline_edges,
                color=_INK,
                linewidth=1,
            )
        axes.locator_params(axis="x", nbins=4)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=7.5)


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts) or 1.0
    return [value / total for value in counts]


def _densities(counts: Sequence[float], edges: Sequence[float]) -> list[float]:
    widths = (b - a for a, b in itertools.pairwise(edges))
    return [share / width for share, width in zip(_shares(counts), widths, strict=True)]


def _by_title(curves: Sequence[Curve]) -> list[list[Curve]]:
    titles = dict.fromkeys(curve.title for curve in curves)
    return [[curve for curve in curves if curve.title == title] for title in titles]


def _curves(curves: Sequence[Curve]) -> Plot | None:
    """One pair of axes for the curves of both models."""
    figure = Figure(figsize=(_WIDTH * 0.6, _WIDTH * 0.55), layout="constrained")
    axes = figure.subplots()
    if curves[0].reference == "diagonal":
        axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle=(0, (2, 2)))
        axes.set_aspect("equal")
    elif curves[0].reference == "zero":
        axes.axhline(0, color=_FAINT, linewidth=1, linestyle=(0, (2, 2)))
    for curve in curves:
        colour = CHAMPION if curve.model == "champion" else CANDIDATE
        points = [*zip(curve.x, curve.y, strict=True)]
        marker = "o" if len(points) <= 30 else None  # noqa: PLR2004 - a line beyond that.
        axes.plot(curve.x, curve.y, color=colour, marker=marker, markersize=4, label=curve.model)
        if not len(curve.low) == len(curve.high) == len(curve.x):
            continue
        if curve.model == "champion":  # Two bands on each other are none.
            for bound in (curve.low, curve.high):
                axes.plot(curve.x, bound, color=colour, linewidth=1, linestyle=(0, (4, 2)))
        else:
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
    axes.set_xlabel(curves[0].x_label)
    axes.set_ylabel(curves[0].y_label)
    axes.legend(loc="best")
    return Plot(
        svg=_svg(figure, "curve-" + re.sub(r"\W+", "-", curves[0].title)),
        caption=f"{curves[0].title}: candidate (blue) and champion (grey)."
        + (" Each band is from the 10th to the 90th percentile." if curves[0].low else ""),
        description=f"{curves[0].title}, of {' and '.join(curve.model for curve in curves)}.",
    )
