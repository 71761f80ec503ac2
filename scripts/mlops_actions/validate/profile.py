"""What the training data looks like, column by column, and how far it is from another profile.

The edges of quantiles and histograms come from a sample; how many values lie at or below each
edge is counted over all rows, so two profiles can be compared exactly at the edges of either.
Ordinary variation is the distance between consecutive windows of that sample in order of time.
The distance is that of Jensen and Shannon, with logarithms to base 2, between the shares of rows
in the bins of the baseline, nulls being a bin of their own: 0 for equal shares, 1 for disjoint
ones, and defined for empty bins. Source: J. Lin, "Divergence measures based on the Shannon
entropy", IEEE Transactions on Information Theory 37 (1991), 145-151.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mlops_actions import evidence
from mlops_actions.errors import Failure
from mlops_actions.validate.source import Batch, Source

_SAMPLE = 100_000  # Rows from which edges are taken.
_QUANTILES = (0.01, *(step / 10 for step in range(1, 10)), 0.99)
_BARS = 20
_CATEGORIES = 1000  # More different texts than this are no categories.
_CATEGORY_LENGTH = 200  # Characters; what is longer is prose.
_WINDOWS = 12
_WINDOW_ROWS = 200  # Fewest rows of a window: below, chance alone makes distances.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """A profile as written to ``profile.json``."""

    rows: int
    columns: Mapping[str, Mapping[str, Any]]

    def document(self) -> dict[str, Any]:
        """Give the JSON document."""
        return {"schema": 1, "rows": self.rows, "columns": dict(self.columns)}

    def complete_categories(self) -> dict[str, list[str]]:
        """Give all categories of each column of which all are known."""
        return {
            name: [item["value"] for item in column["categories"]]
            for name, column in self.columns.items()
            if column.get("kind") == "category"
        }


def read(path: Path) -> Profile:
    """Read a profile; raise :class:`Failure` when it is none of ours."""
    document = evidence.read_json(path)
    columns = document.get("columns")
    if document.get("schema") != 1 or not isinstance(columns, dict):
        raise Failure("This is not a profile of this tool's version.", file=path)
    for column in columns.values():
        kind = column.get("kind") if isinstance(column, dict) else None
        if kind == "category" and not isinstance(column.get("categories"), list):
            raise Failure("The profile is damaged: a column lacks its categories.", file=path)
        if kind == "number" and not isinstance(column.get("quantiles"), list):
            raise Failure("The profile is damaged: a column lacks its quantiles.", file=path)
    return Profile(rows=int(document.get("rows", 0)), columns=columns)


class Sampler:
    """Every n-th row of a source, gathered as its batches go by."""

    def __init__(self, source: Source) -> None:
        self._step = max(1, math.ceil(source.rows / _SAMPLE))
        self._parts: list[pl.DataFrame] = []
        self._empty = pl.DataFrame(schema=source.columns)
        self._seen = 0

    def add(self, batch: Batch) -> None:
        """Take the rows of a batch."""
        self._parts.append(batch.frame.gather_every(self._step, -self._seen % self._step))
        self._seen += batch.frame.height

    def sample(self) -> pl.DataFrame:
        """Give the rows, in file order."""
        return pl.concat([self._empty, *self._parts])


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Edges:
    quantiles: list[tuple[float, float]]
    bars: list[float]
    baseline: list[float]

    def all(self) -> list[float]:
        return sorted({*(value for _, value in self.quantiles), *self.bars, *self.baseline})


def make(
    source: Source,
    sample: pl.DataFrame,
    *,
    sensitive: Collection[str],
    identifier: str,
    time: pl.Expr | None,
    baseline: Profile | None = None,
) -> tuple[Profile, dict[str, dict[str, Any]]]:
    """Profile a source; also give the distance of its columns from the baseline's profile.

    ``sample`` comes from a :class:`Sampler`. Of ``sensitive`` columns and of the id only rows and
    nulls are kept, and they have no distance. ``time`` orders the sample into windows; without
    it, a column's ordinary variation is not known. A distance is
    ``{"distance", "ordinary": {"median", "maximum", "windows"} | None}``, the ordinary variation
    being the baseline's where it has one.
    """
    known = baseline.columns if baseline else {}
    kinds = {
        name: "hidden" if name in sensitive or name == identifier else _kind(sample[name])
        for name in source.columns
    }
    edges = {
        name: _edges(sample[name], known.get(name, {}))
        for name, kind in kinds.items()
        if kind == "number"
    }
    counted = _count(source, kinds, edges)
    windows = _windows(sample, time)
    columns: dict[str, dict[str, Any]] = {}
    distances: dict[str, dict[str, Any]] = {}
    for name, kind in kinds.items():
        column: dict[str, Any] = {
            "kind": kind,
            "type": str(source.columns[name]),
            "rows": source.rows,
            "nulls": counted[name, "nulls"],
        }
        columns[name] = column
        at_baseline: _Shares | None = None
        if kind == "number":
            column |= _describe_number(name, edges[name], counted, source.rows)
            if known.get(name, {}).get("kind") == "number":
                below = {edge: counted[name, edge] for edge in edges[name].baseline}
                at_baseline = _number_shares(column, below)
        elif kind == "category":
            found = _categories(source, name)
            if found is None:
                column["kind"] = "text"
                continue
            column["categories"] = found
            at_baseline = _category_shares(column)
        elif kind == "time":
            column |= {end: _iso(counted[name, end]) for end in ("min", "max")}
        if kind in {"number", "category"}:
            column["variation"] = _variation(
                [_sample_shares(part[name], column) for part in windows]
            )
        other = known.get(name, {})
        if at_baseline is not None and other.get("kind") == column["kind"]:
            distances[name] = {
                "distance": _distance(_stored_shares(other), at_baseline),
                "ordinary": other.get("variation") or column["variation"],
            }
    return Profile(rows=source.rows, columns=columns), distances


def _kind(values: pl.Series) -> str:
    kind = values.dtype
    if kind.is_numeric():
        return "number"
    if kind.is_temporal():
        return "time"
    if kind == pl.Boolean:
        return "category"
    if kind in {pl.String, pl.Categorical, pl.Enum}:
        few = values.n_unique() <= min(_CATEGORIES, max(2, len(values) // 2))
        return "category" if few else "text"
    return "other"


def _edges(values: pl.Series, known: Mapping[str, Any]) -> _Edges:
    finite = values.drop_nulls().cast(pl.Float64)
    finite = finite.filter(finite.is_finite()).sort()
    baseline = [item["value"] for item in known.get("quantiles", [])]
    if finite.is_empty():
        return _Edges(quantiles=[], bars=[], baseline=baseline)
    chosen: dict[float, float] = {}
    for share in _QUANTILES:
        value = float(finite[round(share * (len(finite) - 1))])
        chosen.setdefault(value, share)  # Where quantiles coincide, the first names them.
    low, high = min(chosen), max(chosen)
    step = (high - low) / _BARS
    bars = [low + step * number for number in range(_BARS + 1)] if step > 0 else [low]
    return _Edges(
        quantiles=[(share, value) for value, share in chosen.items()],
        bars=bars,
        baseline=baseline,
    )


def _count(
    source: Source, kinds: Mapping[str, str], edges: Mapping[str, _Edges]
) -> dict[tuple[str, Any], Any]:
    """Count in one streaming pass: nulls, moments, and the values at or below every edge."""
    names: list[tuple[str, Any]] = []
    statements: list[pl.Expr] = []

    def ask(name: str, what: Any, statement: pl.Expr) -> None:
        names.append((name, what))
        statements.append(statement.alias(str(len(statements))))

    for name, kind in kinds.items():
        values = pl.col(name)
        ask(name, "nulls", values.null_count())
        if kind == "time":
            ask(name, "min", values.min())
            ask(name, "max", values.max())
        if kind != "number":
            continue
        if source.columns[name].is_float():
            ask(name, "nan", values.is_nan().sum())
            values = values.fill_nan(None)
        ask(name, "min", values.min())
        ask(name, "max", values.max())
        ask(name, "mean", values.mean())
        ask(name, "std", values.std())
        for edge in edges[name].all():
            ask(name, edge, (values <= edge).sum())
    row = source.scan().select(statements).collect(engine="streaming").row(0)
    return dict(zip(names, row, strict=True))


def _describe_number(
    name: str, edges: _Edges, counted: Mapping[tuple[str, Any], Any], rows: int
) -> dict[str, Any]:
    result: dict[str, Any] = {"nan": counted.get((name, "nan"), 0)}
    values = rows - counted[name, "nulls"] - result["nan"]
    for key in ("min", "max", "mean", "std"):
        value = counted[name, key]
        result[key] = None if value is None else float(value)
    result["quantiles"] = [
        {"share": share, "value": value, "at_or_below": counted[name, value]}
        for share, value in edges.quantiles
    ]
    below = [counted[name, bar] for bar in edges.bars]
    # The outermost bars are open: what a few stray values measure must not flatten the others.
    result["histogram"] = {
        "edges": edges.bars,
        "counts": [later - earlier for earlier, later in zip([0, *below[:-1]], below, strict=True)],
        "above": values - (below[-1] if below else 0),
    }
    return result


def _iso(value: Any) -> str | None:
    return (
        None if value is None else str(value.isoformat() if hasattr(value, "isoformat") else value)
    )


def _categories(source: Source, name: str) -> list[dict[str, Any]] | None:
    """Count every category, the most frequent first; ``None`` when there are too many."""
    found = (
        source.scan()
        .select(value=pl.col(name).cast(pl.String))
        .drop_nulls()
        .group_by("value")
        .agg(count=pl.len())
        .collect(engine="streaming")
        .sort(["count", "value"], descending=[True, False])
    )
    longest = found["value"].str.len_chars().max()
    if found.height > _CATEGORIES or (isinstance(longest, int) and longest > _CATEGORY_LENGTH):
        return None
    return found.to_dicts()


_Shares = dict[Any, float]


def _normed(counts: Mapping[Any, float]) -> _Shares:
    total = sum(counts.values())
    return {key: count / total for key, count in counts.items()} if total else {}


def _number_shares(column: Mapping[str, Any], below: Mapping[float, int]) -> _Shares:
    """Shares of rows in the bins between edges; ``below`` counts the values up to each."""
    missing = column["nulls"] + column["nan"]
    counts: dict[Any, float] = {None: missing}
    before = 0
    for edge in sorted(below):
        counts[edge] = below[edge] - before
        before = below[edge]
    counts[math.inf] = column["rows"] - missing - before
    return _normed(counts)


def _category_shares(column: Mapping[str, Any]) -> _Shares:
    counts: dict[Any, float] = {item["value"]: item["count"] for item in column["categories"]}
    return _normed(counts | {None: column["nulls"]})


def _stored_shares(column: Mapping[str, Any]) -> _Shares:
    if column["kind"] == "category":
        return _category_shares(column)
    return _number_shares(
        column, {item["value"]: item["at_or_below"] for item in column["quantiles"]}
    )


def _sample_shares(values: pl.Series, column: Mapping[str, Any]) -> _Shares:
    if column["kind"] == "category":
        text = values.cast(pl.String)
        counts = collections.Counter(text.to_list())
        return _normed(counts)
    numbers = values.cast(pl.Float64).fill_nan(None)
    below = {item["value"]: int((numbers <= item["value"]).sum()) for item in column["quantiles"]}
    return _number_shares({"rows": len(values), "nulls": numbers.null_count(), "nan": 0}, below)


def _windows(sample: pl.DataFrame, time: pl.Expr | None) -> list[pl.DataFrame]:
    """Cut the sample, in order of time, into windows of equally many rows."""
    if time is None:
        return []
    timed = sample.with_columns(__time=time).drop_nulls("__time").sort("__time")
    count = min(_WINDOWS, timed.height // _WINDOW_ROWS)
    if count < 2:  # noqa: PLR2004 - one window has nothing to be compared with.
        return []
    cuts = [round(timed.height * number / count) for number in range(count + 1)]
    return [timed.slice(a, b - a) for a, b in itertools.pairwise(cuts)]


def _variation(windows: Sequence[_Shares]) -> dict[str, Any] | None:
    if not windows:
        return None
    steps = [_distance(a, b) for a, b in itertools.pairwise(windows)]
    return {
        "median": statistics.median(steps),
        "maximum": max(steps),
        "windows": len(windows),
    }


def _distance(one: _Shares, other: _Shares) -> float:
    """Jensen-Shannon distance, the square root of the divergence, in [0, 1]."""
    divergence = 0.0
    for key in {*one, *other}:
        a, b = one.get(key, 0.0), other.get(key, 0.0)
        middle = (a + b) / 2
        divergence += a / 2 * math.log2(a / middle) if a else 0.0
        divergence += b / 2 * math.log2(b / middle) if b else 0.0
    return math.sqrt(min(1.0, max(0.0, divergence)))
