"""What is drawn: columns of the training data, and curves."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from mlops_actions.report.findings import Column, Curve
from mlops_actions.report.reading import (
    by_name,
    drawable,
    items,
    line,
    mapping,
    number,
    numbers,
    objects,
    points,
    text,
    whole,
)


def _histogram(column: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give edges and counts, with the open outermost bars made as wide as the others.

    A profile counts the values up to each edge since the edge before, and those above the last.
    """
    found = mapping(column.get("histogram"))
    edges = [value for item in items(found.get("edges")) if (value := number(item)) is not None]
    counts = [number(item) for item in (*items(found.get("counts")), found.get("above"))]
    sizes = [value for value in counts if value is not None]
    if (
        not edges
        or len(sizes) != len(edges) + 1
        or len(counts) != len(sizes)
        or not drawable((*edges, *sizes))
        or any(b <= a for a, b in itertools.pairwise(edges))
    ):
        return (), ()
    step = edges[1] - edges[0] if len(edges) > 1 else 1.0
    return (edges[0] - step, *edges, edges[-1] + step), tuple(sizes)


def _categories(column: Mapping[str, Any]) -> dict[str, float]:
    result = {}
    for item in objects(column.get("categories")):
        size, label = number(item.get("count")), text(item.get("value"))
        if size is not None and size >= 0 and drawable((size,)):
            result["(empty)" if label is None else label] = size
    return result


_MOST_BARS = 12


def columns(
    profile: Mapping[str, Any],
    baseline: Mapping[str, Any],
    distances: Mapping[str, Any],
    hidden: frozenset[str],
) -> tuple[Column, ...]:
    """Read the columns of a profile, over those of the baseline's; ``hidden`` ones are left out."""
    before = by_name(baseline.get("columns"))
    result = []
    for name, column in by_name(profile.get("columns")).items():
        if name in hidden:
            continue
        edges, counts = _histogram(column)
        old_edges, old_counts = _histogram(before.get(name, {})) if edges else ((), ())
        labels: tuple[str, ...] = ()
        if not edges:
            labels, counts, old_counts = _bars(
                _categories(column), _categories(before.get(name, {}))
            )
        if not counts:
            continue
        distance = mapping(distances.get(name))
        result.append(
            Column(
                name=line(name, 60),
                labels=labels,
                edges=edges,
                counts=counts,
                baseline_edges=old_edges,
                baseline_counts=old_counts,
                nulls=whole(column.get("nulls")),
                rows=whole(column.get("rows")),
                distance=number(distance.get("distance")),
                ordinary=number(mapping(distance.get("ordinary")).get("maximum")),
            )
        )
    return tuple(result)


def _bars(
    now: Mapping[str, float], then: Mapping[str, float]
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]:
    """Give labels, counts and the baseline's counts, the smallest categories as one."""
    ordered = sorted({*now, *then}, key=lambda key: (-now.get(key, 0), -then.get(key, 0), key))
    groups = [[key] for key in ordered]
    labels = [line(key, 24) for key in ordered]
    if len(ordered) > _MOST_BARS:
        rest = ordered[_MOST_BARS - 1 :]
        groups = [*groups[: _MOST_BARS - 1], rest]
        labels = [*labels[: _MOST_BARS - 1], f"{len(rest):,} others"]
    counts = tuple(sum(now.get(key, 0) for key in group) for group in groups)
    old = tuple(sum(then.get(key, 0) for key in group) for group in groups) if then else ()
    return tuple(labels), counts, old


def curves(gate: Mapping[str, Any]) -> tuple[Curve, ...]:
    """Read reliability and residuals of each model on each set."""
    found = [_reliability(item) for item in objects(gate.get("calibration"))]
    for item in objects(gate.get("residuals")):
        found += [_residuals(item), _distribution(item)]
    return tuple(
        curve
        for curve in found
        if curve.x and len(curve.x) == len(curve.y) and drawable((*curve.x, *curve.y))
    )[:20]


def _where(item: Mapping[str, Any]) -> tuple[str, str]:
    return text(item.get("set")) or "the evaluation set", text(item.get("model")) or "candidate"


def _reliability(item: Mapping[str, Any]) -> Curve:
    name, model = _where(item)
    bins = item.get("bins")
    return Curve(
        title=f"Reliability on {name}",
        model=model,
        x_label="Predicted probability",
        y_label="Observed share",
        x=points(bins, "predicted"),
        y=points(bins, "observed"),
        reference="diagonal",
    )


def _residuals(item: Mapping[str, Any]) -> Curve:
    name, model = _where(item)
    bins = item.get("bins")
    return Curve(
        title=f"Residuals by prediction on {name}",
        model=model,
        x_label="Prediction",
        y_label="Target minus prediction",
        x=points(bins, "predicted"),
        y=points(bins, "median"),
        low=points(bins, "low"),
        high=points(bins, "high"),
        reference="zero",
    )


def _distribution(item: Mapping[str, Any]) -> Curve:
    name, model = _where(item)
    histogram = mapping(item.get("histogram"))
    edges = numbers(histogram.get("edges"))
    return Curve(
        title=f"Distribution of residuals on {name}",
        model=model,
        x_label="Target minus prediction; the outermost shares are open",
        y_label="Share of rows",
        x=tuple((low + high) / 2 for low, high in itertools.pairwise(edges)),
        y=numbers(histogram.get("shares")),
    )
