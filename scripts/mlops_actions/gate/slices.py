"""The parts of an evaluation set that are judged by themselves."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from mlops_actions.config import Slice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

MOST_SLICES = 1_000
"""With more parts to judge than this the column is an id, not a slice."""

MOST_PARTS = 20_000
"""With more parts than this, small ones included, it is not even cut."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """The rows of one slice.

    Attributes:
        name: such as ``origin=JFK`` or ``origin=JFK, hour=[5, 9)``.
        columns: those it was cut by.
        rows: (m,) their positions in the set, in order.
        values: what the columns hold in these rows.
        cut: whether a column was cut into bins, so that the name depends on the set.

    """

    name: str
    columns: list[str]
    rows: Integers
    values: tuple[object, ...]
    cut: bool


def as_slice(columns: list[str], least: int | None = None) -> Slice:
    """Return the slice that cuts by these columns and asks for nothing of its own."""
    return Slice(columns=columns, min_slice_size=least)


def count(rows: pl.DataFrame, policy: Slice) -> int:
    """Return the number of parts, at most, without making them."""
    distinct = [
        min(rows[column].n_unique(), policy.bins + 1)
        if policy.bins is not None and rows[column].dtype.is_numeric()
        else rows[column].n_unique()
        for column in policy.columns
    ]
    return min(math.prod(distinct), rows.height)


def divide(rows: pl.DataFrame, policy: Slice, *, sensitive: Collection[str] = ()) -> list[Part]:
    """Cut a set into the parts of a slice, in the order of their values.

    A missing value is a part of its own. With ``bins``, a numeric column with more distinct
    values than bins is cut at its quantiles. The values of a ``sensitive`` column are numbered
    instead of named.
    """
    columns = list(policy.columns)
    keys, orders, cut = [], [], False
    for column in columns:
        key, order = _key(rows[column], policy.bins)
        cut |= policy.bins is not None and rows[column].dtype.is_numeric() != key.dtype.is_numeric()
        keys.append(key.alias(column))
        orders.append(order)
    # The positions have an empty name, which no column of a policy has.
    frame = pl.DataFrame(keys).with_row_index("")
    found = frame.group_by(columns, maintain_order=True).agg(pl.col(""))
    parts = []
    for row in found.iter_rows():
        *values, positions = row
        places = tuple(order[value] for order, value in zip(orders, values, strict=True))
        name = ", ".join(
            f"{column}=#{place + 1}" if column in sensitive else f"{column}={text(value)}"
            for column, value, place in zip(columns, values, places, strict=True)
        )
        part = Part(
            name=name,
            columns=columns,
            rows=np.asarray(positions, dtype=np.int64),
            values=tuple(values),
            cut=cut,
        )
        parts.append((places, part))
    return [part for _, part in sorted(parts, key=lambda item: item[0])]


def _key(values: pl.Series, bins: int | None) -> tuple[pl.Series, dict[object, int]]:
    """Return what each row is called, and the place of each such name."""
    if values.dtype.is_float():
        values = values.fill_nan(None)
    if bins is not None and values.dtype.is_numeric() and values.n_unique() > bins:
        return _bins(values.cast(pl.Float64), bins)
    distinct = values.unique().sort(nulls_last=True).to_list()
    return values, {value: place for place, value in enumerate(distinct)}


def _bins(values: pl.Series, bins: int) -> tuple[pl.Series, dict[object, int]]:
    known = values.drop_nulls().to_numpy()
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    edges = edges[edges > known.min()]
    ends = [known.min(), *edges, known.max()]
    texts = [f"{end:g}" for end in ends]
    if len(set(texts)) != len(texts):  # Too close for six digits.
        texts = [repr(float(end)) for end in ends]
    names: list[object] = [f"[{low}, {high})" for low, high in itertools.pairwise(texts[:-1])]
    names.append(f"[{texts[-2]}, {texts[-1]}]")
    places = np.searchsorted(edges, values.fill_null(math.nan).to_numpy(), side="right")
    named = pl.Series(values.name, places).replace_strict(
        list(range(len(names))), names, default=None, return_dtype=pl.String
    )
    named = pl.select(pl.when(values.is_not_null()).then(named)).to_series()
    return named, {name: place for place, name in enumerate([*names, None])}


def text(value: object) -> str:
    """Return what a value is called in the name of a slice; a whole number, without a point."""
    if value is None:
        return "(missing)"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
