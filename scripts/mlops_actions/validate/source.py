"""The data files that ``mlops.yaml`` names: found, opened, and read in eager bounded batches.

CSV is converted to Parquet once, in a temporary folder: it has no types and no way to begin in
the middle, and every later step reads some columns of it again.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mlops_actions.config import Config, Project
from mlops_actions.errors import Failure

BATCH_ROWS = 500_000
_SUFFIXES = (".parquet", ".csv")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """Some rows of one file: ``frame``, and where its first row stands (from 0) in ``file``."""

    frame: pl.DataFrame
    file: str
    offset: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Data that was found and can be read.

    ``path`` is as in ``mlops.yaml``, ``files`` are the files as found, ``names`` their paths from
    the folder of ``mlops.yaml``, ``readable`` the Parquet to read instead of each, ``heights``
    their rows, ``columns`` the columns that all of them have.
    """

    path: str
    files: tuple[Path, ...]
    names: tuple[str, ...]
    readable: tuple[Path, ...]
    heights: tuple[int, ...]
    columns: dict[str, pl.DataType]
    is_csv: bool

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(self.heights)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.stat().st_size for file in self.files)

    def scan(self) -> pl.LazyFrame:
        """Give the whole, for the streaming engine. Never for Pandera: it would check nothing."""
        return pl.scan_parquet(list(self.readable), hive_partitioning=False, glob=False).select(
            list(self.columns)
        )

    def batches(
        self, columns: Collection[str] | None = None, rows: int = BATCH_ROWS
    ) -> Iterator[Batch]:
        """Give the rows in file order, at most ``rows`` at a time, as eager frames."""
        chosen = list(self.columns if columns is None else columns)
        for readable, name, height in zip(self.readable, self.names, self.heights, strict=True):
            lazy = pl.scan_parquet(readable, hive_partitioning=False, glob=False).select(chosen)
            for offset in range(0, height, rows):
                try:
                    frame = lazy.slice(offset, rows).collect()
                except (pl.exceptions.PolarsError, OSError) as problem:
                    raise _unreadable(problem, name) from None
                yield Batch(frame=frame, file=name, offset=offset)


def _unreadable(
    problem: Exception, name: str, *, say: bool = True, line: int | None = None
) -> Failure:
    detail = f": {_first_line(problem)}" if say else ""
    return Failure(f"The file cannot be read{detail}.", file=name, line=line)


def _first_line(problem: Exception) -> str:
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    return lines[0].rstrip(".: ")[:300]


def matches(folder: Path, path: str) -> list[Path]:
    """Give what a setting names: what its glob finds in a folder, else one path, there or not."""
    root = folder / path
    if root.is_dir() or not any(character in path for character in "*?["):
        return [root]
    try:
        return list(folder.glob(path))
    except ValueError:  # "**" beside other characters, before Python 3.13.
        return []


def find(project: Project, path: str, *where: str | int) -> list[Path]:
    """Find the files that a setting names: one file, a glob, or a folder.

    Raises a :class:`ConfigurationError` at the setting (``where``) when there are none, or when
    one of them lies outside the project.
    """
    root = project.path(path)
    if root.is_dir():
        found = [item for item in root.rglob("*") if item.suffix in _SUFFIXES]
    else:
        found = matches(project.folder, path)
    # What begins with a dot or an underscore is a by-product, as in every reader of folders.
    found = sorted(
        item for item in found if item.is_file() and not item.name.startswith((".", "_"))
    )
    if not found:
        what = "holds no .parquet or .csv file" if root.is_dir() else "does not exist"
        made = "" if project.config.data.command else " Should data.command make it?"
        raise project.error(f"{path} {what}.{made}", *where)
    outside = [
        item for item in found if not item.resolve().is_relative_to(project.folder.resolve())
    ]
    if outside:
        raise project.error(f"{outside[0].name} of {path} leads outside the project.", *where)
    suffixes = {item.suffix for item in found}
    if len(suffixes) > 1 or not suffixes <= set(_SUFFIXES):
        listed = ", ".join(sorted(suffix or "no suffix" for suffix in suffixes))
        raise project.error(
            f"{path}: expected files of one kind, .parquet or .csv, found {listed}.", *where
        )
    return found


def open_files(
    project: Project,
    path: str,
    files: Sequence[Path],
    *,
    scratch: Path,
    text: Collection[str] = (),
) -> Source:
    """Open files that :func:`find` gave, and see that they fit together.

    ``text`` are columns of a CSV that stay as they are written, such as ids with leading zeros.
    ``scratch`` is a folder for the Parquet made from CSV. Raises :class:`Failure` with the file
    that is empty, corrupt or has other columns than the first.
    """
    is_csv = files[0].suffix == ".csv"
    names = [file.relative_to(project.folder).as_posix() for file in files]
    readable: list[Path] = []
    heights: list[int] = []
    first: dict[str, pl.DataType] = {}
    hide = bool(project.config.sensitive)
    for number, (file, name) in enumerate(zip(files, names, strict=True)):
        if file.stat().st_size == 0:
            raise Failure("The file is empty: it has no byte.", file=name)
        target = file
        if is_csv:
            target = scratch / f"{number}.parquet"
            _convert(file, name, target, text=text, config=project.config)
        try:
            lazy = pl.scan_parquet(target, hive_partitioning=False, glob=False)
            columns = dict(lazy.collect_schema())
            height = int(lazy.select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, OSError) as problem:
            raise _unreadable(problem, name, say=not hide) from None
        first = first or columns
        _same_columns(columns, first, name, names[0])
        readable.append(target)
        heights.append(height)
    return Source(
        path=path,
        files=tuple(files),
        names=tuple(names),
        readable=tuple(readable),
        heights=tuple(heights),
        columns=first,
        is_csv=is_csv,
    )


def _same_columns(
    columns: dict[str, pl.DataType], first: dict[str, pl.DataType], name: str, first_name: str
) -> None:
    gone = [column for column in first if column not in columns]
    added = [column for column in columns if column not in first]
    other = [
        f"{column} is {kind}, not {first[column]}"
        for column, kind in columns.items()
        if column in first and kind != first[column]
    ]
    if gone or added or other:
        parts = [f"it lacks {', '.join(gone)}"] if gone else []
        parts += [f"it adds {', '.join(added)}"] if added else []
        parts += other
        raise Failure(f"The file differs from {first_name}: {'; '.join(parts)}.", file=name)


def _convert(file: Path, name: str, target: Path, *, text: Collection[str], config: Config) -> None:
    """Turn CSV into Parquet by streaming. Types are inferred from all rows, not from the first."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            header = next(csv.reader(handle), [])
    except (UnicodeDecodeError, csv.Error) as problem:
        raise Failure(f"The file is not CSV in UTF-8: {problem}.", file=name) from None
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise Failure(f"The header names {', '.join(repeated)} more than once.", file=name)
    _inspect_header(header, name, config.key_columns)
    options: dict[str, Any] = {
        "infer_schema_length": None,
        "try_parse_dates": True,
        "schema_overrides": {column: pl.String for column in header if column in text},
        "glob": False,
    }
    try:
        pl.scan_csv(file, **options).sink_parquet(target, compression="lz4")
    except (pl.exceptions.PolarsError, OSError) as problem:
        # The reader's words quote values of the row that it choked on.
        line = _broken_line(file, len(header))
        raise _unreadable(problem, name, say=not config.sensitive, line=line) from None


def _inspect_header(header: list[str], name: str, wanted: list[str]) -> None:
    """Say in one sentence what would else be a missing column many times over."""
    separator = next((sign for sign in ";\t|" if sign in header[0]), None) if header else None
    if len(header) == 1 and separator:
        raise Failure(
            f"The first line has one column, which contains {separator!r}: separate the columns "
            "by commas, or write Parquet.",
            file=name,
            line=1,
        )
    if not set(wanted) & set(header):  # It may hold values: they are not printed.
        raise Failure(
            f"The first line names none of the columns of mlops.yaml ({', '.join(wanted)}): is it "
            "the header?",
            file=name,
            line=1,
        )


def _broken_line(file: Path, columns: int) -> int | None:
    """Find the row that has too many fields, or a quote that does not end."""
    line = 1
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            for row in reader:
                if len(row) > columns:
                    return line
                line = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error):
        return line
    return None
