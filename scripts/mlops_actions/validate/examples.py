"""Rows that failed something: counted exactly, a few of them kept to show."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
from collections.abc import Collection
from typing import Any

import polars as pl

from mlops_actions import evidence
from mlops_actions.validate.source import Batch

LIMIT = 10  # Examples of one failure.
_LENGTH = 200  # Characters of a shown value.


def shown(value: object) -> Any:
    """Turn a value into a short JSON scalar."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    text = str(value)
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"


def counted(rows: int) -> str:
    """Say how many rows."""
    return f"{rows} row" if rows == 1 else f"{rows} rows"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """What may be printed: the id column, and the columns whose values never are."""

    identifier: str
    sensitive: Collection[str]

    def example(self, batch: Batch, row: int, column: str | None) -> dict[str, Any]:
        """Describe a row of a batch by file, number (from 1), id, and the value of a column."""
        result: dict[str, Any] = {"file": batch.file, "row": batch.offset + row + 1}
        names = batch.frame.columns
        if self.identifier in names and self.identifier not in self.sensitive:
            result["id"] = shown(batch.frame[self.identifier][row])
        if column in names and column not in self.sensitive:
            result["value"] = shown(batch.frame[column][row])
        return result


@dataclasses.dataclass(kw_only=True)
class Tally:
    """What one check found, over all batches; ``line`` is one of ``file``."""

    rows: int = 0
    message: str | None = None
    failed: bool = False
    file: str | None = None
    line: int | None = None
    examples: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def add(self, bad: pl.Series, batch: Batch, rule: Shown, column: str | None) -> None:
        """Count the rows of a batch for which ``bad`` (Boolean, without nulls) is true."""
        count = int(bad.sum())
        if not count:
            return
        self.rows += count
        self.failed = True
        self.file = self.file or batch.file
        missing = LIMIT - len(self.examples)
        if missing > 0:
            places = bad.arg_true().head(missing).to_list()
            self.examples += [rule.example(batch, row, column) for row in places]

    def fail(self, message: str, batch: Batch | None = None) -> None:
        """Fail as a whole, without rows."""
        self.failed = True
        self.message = self.message or message
        self.file = self.file or (batch.file if batch else None)

    def check(
        self, name: str, required: object, *, observed: object = None, message: str | None = None
    ) -> evidence.Check:
        """Make the check; by default ``observed`` is the number of failing rows."""
        return evidence.check(
            name,
            "fail" if self.failed else "pass",
            self.rows if observed is None else observed,
            required,
            (self.message or message) if self.failed else None,
            **({"file": self.file, "rows": self.rows, "examples": self.examples}
               if self.failed else {}),
            **({"line": self.line} if self.line else {}),
        )  # fmt: skip
