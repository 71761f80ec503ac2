"""Keys across batches: values that occur twice, and rows that two files share.

Rows are compared by a 64-bit hash, 8 bytes a row. Equal hashes are then compared as values, so a
duplicate that is reported is one; two different rows are taken for equal between files with a
probability of rows x rows / 2^64, one in five million for a million by four million rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from mlops_actions.validate.examples import Shown, Tally
from mlops_actions.validate.source import Batch, Source

_SEED = 20130101  # Any: all hashes of a run use it.
BLOCKS = 5
"""Parts of the training data's time between which rows honestly repeat."""


class Uniqueness:
    """Whether the values of some columns, together, occur once in all batches of a file."""

    def __init__(self, columns: Sequence[str], rule: Shown, *, nulls: bool = True) -> None:
        """With ``nulls``, two nulls are a duplicate, as for Pandera."""
        self._columns = list(columns)
        self._rule = rule
        self._nulls = nulls
        self._hashes: list[pl.Series] = []

    def _hash(self, frame: pl.DataFrame) -> pl.Series:
        return frame.select(self._columns).hash_rows(_SEED)

    def _counted(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame if self._nulls else frame.drop_nulls(self._columns)

    def add(self, batch: Batch) -> None:
        """Take the rows of a batch."""
        self._hashes.append(self._hash(self._counted(batch.frame.select(self._columns))))

    def finish(self, source: Source) -> Tally:
        """Count the rows whose values occur more than once; reads them again if there are any."""
        tally = Tally()
        if not self._hashes:
            return tally
        hashes = pl.concat(self._hashes).sort()
        self._hashes = []
        repeated = hashes.slice(1).filter(hashes.slice(1) == hashes.slice(0, len(hashes) - 1))
        if repeated.is_empty():
            return tally
        suspects = repeated.unique()
        del hashes
        parts = []
        for batch in source.batches(self._columns):
            frame = self._counted(batch.frame)
            parts.append(frame.filter(self._hash(frame).is_in(suspects.implode())))
        repeats = pl.concat(parts)
        repeats = repeats.filter(repeats.is_duplicated()).unique()
        del parts
        if repeats.is_empty():
            return tally
        wanted = list(dict.fromkeys([*self._columns, self._rule.identifier]))
        wanted = [column for column in wanted if column in source.columns]
        only = self._columns[0] if len(self._columns) == 1 else None
        known = repeats.with_columns(pl.lit(value=True).alias("__repeated"))
        for batch in source.batches(wanted):
            bad = (
                batch.frame.select(self._columns)
                .join(known, on=self._columns, how="left", nulls_equal=True, maintain_order="left")
                .get_column("__repeated")
                .fill_null(value=False)
            )
            tally.add(bad, batch, self._rule, only)
        return tally


def comparable(columns: Collection[str], left: Source, right: Source) -> list[pl.Expr]:
    """Bring columns of two sources to types in which equal values hash alike."""
    expressions = []
    for name in sorted(columns):
        one, other = left.columns[name], right.columns[name]
        column = pl.col(name)
        if one == other and one not in {pl.Categorical, pl.Enum}:
            expressions.append(column)
        elif one.is_integer() and other.is_integer():
            expressions.append(column.cast(pl.Int128))  # Holds UInt64 and Int64.
        elif one.is_numeric() and other.is_numeric():
            expressions.append(column.cast(pl.Float64))
        else:
            expressions.append(column.cast(pl.String))
    return expressions


class Overlap:
    """How many rows of an evaluation set occur in the training data, by id and by content.

    Content is every column but the id, the time and the group, which name an occasion instead of
    describing it. How often honest rows repeat so is measured on the training data itself: its
    time is cut into `BLOCKS` of equally many rows, and each block is compared with the others.
    """

    def __init__(
        self,
        training: Source,
        evaluation: Source,
        identifier: str,
        *,
        occasion: Collection[str] = (),
        time: pl.Expr | None = None,
    ) -> None:
        """Compare two files; ``occasion`` are their time and group, ``time`` reads the former."""
        both = [name for name in training.columns if name in evaluation.columns]
        content = [name for name in both if name != identifier and name not in occasion]
        self._parts = {
            "keys": comparable([identifier], training, evaluation) if identifier in both else [],
            "content": comparable(content, training, evaluation),
        }
        self._time = time
        self._evaluation: dict[str, list[pl.Series]] = {name: [] for name in self._parts}
        self._wanted: dict[str, pl.Series] = {}
        self._found: dict[str, list[pl.Series]] = {name: [] for name in self._parts}
        self._training: list[pl.DataFrame] = []

    def add_evaluation(self, frame: pl.DataFrame) -> None:
        """Take rows of the evaluation set; all of them before any of the training data."""
        for name, columns in self._parts.items():
            if columns:
                self._evaluation[name].append(frame.select(columns).hash_rows(_SEED))

    def add_training(self, frame: pl.DataFrame) -> None:
        """Take rows of the training data."""
        for name, columns in self._parts.items():
            if not columns or not self._evaluation[name]:
                continue
            if name not in self._wanted:
                self._wanted[name] = pl.concat(self._evaluation[name]).unique()
            hashes = frame.select(columns).hash_rows(_SEED)
            self._found[name].append(hashes.filter(hashes.is_in(self._wanted[name].implode())))
            if name == "content" and self._time is not None:
                times = frame.select(self._time.dt.timestamp("us").alias("time")).to_series()
                self._training.append(pl.DataFrame({"row": hashes, "time": times}))

    def counts(self) -> dict[str, int | float]:
        """Give ``keys`` and ``content``: rows of the evaluation set found in the training data.

        Where the training data has a time, also ``ordinary``: the largest share of a block's rows
        that occur in another block of the training data, too.
        """
        result: dict[str, int | float] = {}
        for name in self._parts:
            if not self._found[name]:
                result[name] = 0
                continue
            found = pl.concat(self._found[name]).unique().implode()
            result[name] = int(pl.concat(self._evaluation[name]).is_in(found).sum())
        ordinary = _repeats(pl.concat(self._training)) if self._training else None
        return result if ordinary is None else result | {"ordinary": ordinary}


def _repeats(rows: pl.DataFrame) -> float | None:
    """Give the largest share of a time block's rows that repeat in another one.

    ``rows`` has ``row``, a hash, and ``time`` in microseconds. ``None`` where there are fewer
    blocks than two: no time, or one only.
    """
    rows = rows.drop_nulls("time").sort("time")
    edges = (
        [rows["time"][rows.height * number // BLOCKS] for number in range(1, BLOCKS)]
        if (rows.height >= BLOCKS)
        else []
    )
    block = sum((pl.col("time") >= edge).cast(pl.Int8) for edge in sorted(set(edges)))
    if not edges or not isinstance(block, pl.Expr):
        return None
    placed = rows.lazy().select("row", block.alias("block"))
    spread = placed.unique().group_by("row").len().filter(pl.col("len") > 1).select("row")
    repeating = spread.with_columns(pl.lit(value=True).alias("repeats"))
    shares = (
        placed.join(repeating, on="row", how="left")
        .group_by("block")
        .agg(pl.col("repeats").fill_null(value=False).mean())
        .collect()
    )
    if shares.height < 2:  # noqa: PLR2004
        return None
    largest = shares["repeats"].max()
    return float(largest)  # type: ignore[arg-type]
