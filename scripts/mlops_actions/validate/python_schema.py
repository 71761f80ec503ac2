"""Check files against a Pandera schema that is a Python object. Runs in the project environment.

    python python_schema.py --schema package.module:Schema --output DIR [--batch-rows N]
                            [--sensitive COLUMN …] -- FILE…

needs nothing but Pandera (0.20 or later) with polars or pandas (and what pandas reads Parquet
with); the folder it runs in is where the schema is imported from. It ends with 0 whenever it has
written its answer, in DIR:

``schema.json``
    ``{"schema": 1, "reference", "library": "polars"|"pandas", "pandera": version, "rows": int,
    "batched": bool, "status": "checked"|"error", "error": null | {"kind": "import"|
    "not_a_schema"|"data", "message", "traceback": [its last lines]}, "failures": [{"column":
    str|null, "check": str, "rows": int|null, "message": str|null}]}``

``failures.parquet``
    at most 10 rows for each entry of ``failures``: ``failure`` (its place there, Int64), ``file``
    (absolute path), ``row`` (from 0, in that file, Int64), ``value`` (text, null for a sensitive
    column or a check of whole rows).

Each check of each column runs by itself and is counted exactly, because Pandera's lazy mode stops
at a missing or added column and at a failed coercion. Then the whole schema has the last word: what
it refuses and the single checks do not see is a failure, too.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import math
import numbers
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

LIMIT = 10
TRACEBACK = 12  # Lines.

Where = Callable[[int], tuple[str, int]]  # From a row of a frame to file and row.


class Unusable(Exception):
    """The schema or the data cannot be used; ``kind`` says which."""

    def __init__(self, kind: str, message: str, lines: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind, self.lines = kind, lines or []


def import_schema(reference: str) -> tuple[Any, Any]:
    """Import the schema; give Pandera's DataFrameSchema and the library it is for."""
    module, _, name = reference.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
        if isinstance(found, type) and hasattr(found, "to_schema"):
            found = found.to_schema()
    except BaseException as problem:
        if isinstance(problem, KeyboardInterrupt):
            raise
        lines = traceback.format_exc().strip().splitlines()[-TRACEBACK:]
        message = f"cannot be imported: {type(problem).__name__}: {problem}"
        raise Unusable("import", message, lines) from None
    if not hasattr(found, "validate") or not hasattr(found, "columns"):
        kind = type(found).__name__
        raise Unusable("not_a_schema", f"is no Pandera schema but of the type {kind}.")
    where = type(found).__module__
    if "polars" in where:
        return found, Polars
    if "pandas" in where or where == "pandera.schemas":
        return found, Pandas
    raise Unusable("not_a_schema", f"is made for {where}; polars and pandas are supported.")


class Polars:
    """Frames of polars."""

    name = "polars"

    def __init__(self) -> None:
        import polars

        self.library = polars

    def _lazy(self, file: str) -> Any:
        if file.endswith(".parquet"):
            return self.library.scan_parquet(file, hive_partitioning=False)
        return self.library.scan_csv(file, infer_schema_length=None, try_parse_dates=True)

    def height(self, file: str) -> int:
        """Give the rows of a file."""
        return int(self._lazy(file).select(self.library.len()).collect().item())

    def read(self, file: str, columns: list[str] | None = None) -> Any:
        """Read a file whole, or some of its columns."""
        lazy = self._lazy(file)
        return (lazy if columns is None else lazy.select(columns)).collect()

    def parts(self, file: str, rows: int) -> Iterator[tuple[int, Any]]:
        """Read a file in frames of at most ``rows`` rows; give the offset of each."""
        height = self.height(file)
        for offset in range(0, height, rows):
            yield offset, self._lazy(file).slice(offset, rows).collect()

    def concat(self, frames: Iterable[Any]) -> Any:
        """Put frames under each other."""
        return self.library.concat(frames)

    def columns(self, frame: Any) -> list[str]:
        """Give the names of the columns."""
        return list(frame.columns)

    def nulls(self, values: Any) -> Any:
        """Say of each value whether it is null or NaN."""
        return values.is_null() | values.is_nan() if values.dtype.is_float() else values.is_null()

    def duplicated(self, frame: Any, columns: list[str]) -> Any:
        """Say of each row whether another one equals it."""
        return frame.select(columns).is_duplicated()

    def kind(self, frame: Any, column: str) -> Any:
        """Give the type of a column."""
        return frame.schema[column]

    def right_type(self, component: Any, frame: Any, column: str) -> bool:
        """Ask Pandera whether a column has the declared type."""
        from pandera.api.polars.types import PolarsData

        kind = frame.schema[column]
        return bool(component.dtype.check(kind, PolarsData(frame.lazy(), column)))

    def passed(self, check: Any, frame: Any, column: str | None) -> Any:
        """Give one Boolean a row, or a single Boolean."""
        # Lazy frames only inside: the check's own expressions; the answer is collected here.
        result = check(frame.lazy(), column) if column else check(frame.lazy())
        answer = result.check_output.collect().to_series().fill_null(bool(check.ignore_na))
        return answer if len(answer) == frame.height else bool(answer.all())

    def wrong_rows(self, bad: Any) -> tuple[int, list[int]]:
        """Give how many are true, and where the first of them stand."""
        return int(bad.sum()), bad.arg_true().head(LIMIT).to_list()

    def inverted(self, answer: Any) -> Any:
        """Turn true and false around."""
        return ~answer

    def value(self, frame: Any, column: str, row: int) -> Any:
        """Give one value."""
        return frame[column][row]

    def mask(self, height: int, places: list[int]) -> Any:
        """Give one Boolean a row, true at ``places``."""
        return self.library.select(self.library.int_range(height).is_in(places)).to_series()

    def without(self, frame: Any, places: list[int]) -> Any:
        """Give a frame without the rows at ``places``."""
        return frame.filter(~self.mask(frame.height, places))

    def replaced(self, frame: Any, column: str, values: Any) -> Any:
        """Give a frame with other values in a column."""
        return frame.with_columns(values.alias(column))

    def write(self, rows: Any, path: Path) -> None:
        """Write the example rows."""
        kinds = {"failure": self.library.Int64, "file": self.library.String,
                 "row": self.library.Int64, "value": self.library.String}  # fmt: skip
        self.library.DataFrame(rows, schema=kinds).write_parquet(path)


class Pandas:
    """Frames of pandas."""

    name = "pandas"

    def __init__(self) -> None:
        import pandas

        self.library = pandas

    def _parquet(self, file: str) -> Any:
        import pyarrow.parquet  # type: ignore[import-not-found, unused-ignore]

        return pyarrow.parquet.ParquetFile(file)

    def height(self, file: str) -> int:
        """Give the rows of a file."""
        if file.endswith(".parquet"):
            try:
                return int(self._parquet(file).metadata.num_rows)
            except ImportError:
                return len(self.library.read_parquet(file))
        return sum(len(part) for part in self.library.read_csv(file, chunksize=500_000))

    def read(self, file: str, columns: list[str] | None = None) -> Any:
        """Read a file whole, or some of its columns."""
        if file.endswith(".parquet"):
            return self.library.read_parquet(file, columns=columns)
        return self.library.read_csv(file, usecols=columns)

    def parts(self, file: str, rows: int) -> Iterator[tuple[int, Any]]:
        """Read a file in frames of at most ``rows`` rows; give the offset of each."""
        offset = 0
        frames: Any
        if file.endswith(".parquet"):
            try:
                frames = (b.to_pandas() for b in self._parquet(file).iter_batches(batch_size=rows))
            except ImportError:
                frames = iter([self.library.read_parquet(file)])
        else:
            frames = self.library.read_csv(file, chunksize=rows)
        for frame in frames:
            yield offset, frame.reset_index(drop=True)
            offset += len(frame)

    def concat(self, frames: Iterable[Any]) -> Any:
        """Put frames under each other."""
        return self.library.concat(frames, ignore_index=True)

    def columns(self, frame: Any) -> list[str]:
        """Give the names of the columns."""
        return list(frame.columns)

    def nulls(self, values: Any) -> Any:
        """Say of each value whether it is null or NaN."""
        return values.isna()

    def duplicated(self, frame: Any, columns: list[str]) -> Any:
        """Say of each row whether another one equals it."""
        return frame.duplicated(subset=list(columns), keep=False)

    def kind(self, frame: Any, column: str) -> Any:
        """Give the type of a column."""
        return frame[column].dtype

    def right_type(self, component: Any, frame: Any, column: str) -> bool:
        """Ask Pandera whether a column has the declared type."""
        import numpy
        from pandera.engines import pandas_engine

        kind = pandas_engine.Engine.dtype(frame[column].dtype)
        answer = component.dtype.check(kind, frame[column])
        return bool(numpy.all(answer))

    def passed(self, check: Any, frame: Any, column: str | None) -> Any:
        """Give one Boolean a row, or a single Boolean."""
        result = check(frame, column) if column else check(frame)
        answer = result.check_output
        if isinstance(answer, self.library.DataFrame):
            answer = answer.all(axis=1)
        if isinstance(answer, self.library.Series):
            # Nulls are left out where the check ignores them; frames count their rows from 0.
            inside = not check.groupby and bool(answer.index.isin(frame.index).all())
            if inside and len(answer) < len(frame):
                answer = answer.reindex(frame.index, fill_value=True)
        if isinstance(answer, self.library.Series) and len(answer) == len(frame):
            return answer.fillna(True).astype(bool).reset_index(drop=True)
        return bool(result.check_passed)

    def wrong_rows(self, bad: Any) -> tuple[int, list[int]]:
        """Give how many are true, and where the first of them stand."""
        places = bad.to_numpy(dtype=bool).nonzero()[0]
        return len(places), [int(place) for place in places[:LIMIT]]

    def inverted(self, answer: Any) -> Any:
        """Turn true and false around."""
        return ~answer

    def value(self, frame: Any, column: str, row: int) -> Any:
        """Give one value."""
        value = frame[column].iloc[row]
        return None if self.library.isna(value) is True else value

    def mask(self, height: int, places: list[int]) -> Any:
        """Give one Boolean a row, true at ``places``."""
        return self.library.Series(range(height)).isin(places)

    def without(self, frame: Any, places: list[int]) -> Any:
        """Give a frame without the rows at ``places``."""
        return frame.drop(index=places).reset_index(drop=True)

    def replaced(self, frame: Any, column: str, values: Any) -> Any:
        """Give a frame with other values in a column."""
        return frame.assign(**{column: values})

    def write(self, rows: Any, path: Path) -> None:
        """Write the example rows."""
        table = self.library.DataFrame(rows, columns=["failure", "file", "row", "value"])
        kinds = {"failure": "int64", "row": "int64", "file": "string", "value": "string"}
        table.astype(kinds).to_parquet(path, index=False)


class Findings:
    """Failures by column and check, over all parts of the data."""

    def __init__(self, sensitive: set[str]) -> None:
        self.sensitive = sensitive
        self.failures: list[dict[str, Any]] = []
        self.examples: list[dict[str, Any]] = []
        self._places: dict[tuple[str | None, str], int] = {}

    def _place(self, column: str | None, check: str) -> int:
        key = (column, check)
        if key not in self._places:
            self._places[key] = len(self.failures)
            self.failures.append({"column": column, "check": check, "rows": None, "message": None})
        return self._places[key]

    def whole(self, column: str | None, check: str, message: str) -> None:
        """A failure without rows."""
        failure = self.failures[self._place(column, check)]
        if column not in self.sensitive:
            failure["message"] = failure["message"] or message

    def rows(
        self, library: Any, frame: Any, bad: Any, where: Where, column: str | None, check: str
    ) -> None:
        """Count the rows of ``frame`` for which ``bad`` is true, and keep some."""
        count, places = library.wrong_rows(bad)
        if not count:
            return
        number = self._place(column, check)
        self.failures[number]["rows"] = (self.failures[number]["rows"] or 0) + count
        kept = sum(example["failure"] == number for example in self.examples)
        for place in places[: max(0, LIMIT - kept)]:
            file, row = where(place)
            hidden = column is None or column in self.sensitive
            value = None if hidden else library.value(frame, column, place)
            value = None if value is None else str(value)[:200]
            self.examples.append({"failure": number, "file": file, "row": row, "value": value})


def label(check: Any) -> str:
    """Name a check as its author would."""
    return str(check.error or check.name or "check")


def components_of(schema: Any, library: Any, frame: Any) -> dict[str, Any]:
    """Find the component of each column of the frame."""
    import re

    result = {}
    names = library.columns(frame)
    for name, component in schema.columns.items():
        if getattr(component, "regex", False):
            pattern = str(name).removeprefix("^").removesuffix("$")
            matches = [n for n in names if n not in schema.columns and re.fullmatch(pattern, n)]
            result.update(dict.fromkeys(matches, component))
        elif name in names:
            result[name] = component
    return result


def look_at_names(schema: Any, library: Any, frame: Any, findings: Findings) -> None:
    """Note columns that are gone or added."""
    names = library.columns(frame)
    for name, component in schema.columns.items():
        absent = not getattr(component, "regex", False) and name not in names
        if absent and component.required and not getattr(schema, "add_missing_columns", False):
            findings.whole(name, "present", f"The column {name} is missing.")
    known = components_of(schema, library, frame)
    if schema.strict is True:
        for name in names:
            if name not in known:
                findings.whole(
                    name, "in_schema", f"The column {name} is not in the schema, which is strict."
                )


def coerced(
    schema: Any, component: Any, library: Any, frame: Any, column: str
) -> tuple[Any, list[int], str | None]:
    """Turn a column into its declared type, where the schema asks for it.

    Gives the column (of the good rows only), the places of the rows that cannot be turned, and
    a message when it cannot be turned at all.
    """
    values = frame[column]
    if component.dtype is None or not (schema.coerce or component.coerce):
        return values, [], None
    alone = copy.deepcopy(component)
    alone.checks, alone.nullable, alone.unique, alone.coerce = [], True, False, True
    alone.name, alone.regex = column, False
    whole = type(schema)(columns={column: alone})
    part = frame[[column]]
    try:
        return whole.validate(part, lazy=True)[column], [], None
    except Exception as problem:  # noqa: BLE001 - the user's code may raise anything.
        first = (str(problem).strip().splitlines() or [""])[0]
        message = f"The column {column} cannot be turned into {component.dtype}"
        cases = getattr(problem, "failure_cases", None)
        if cases is None or not hasattr(cases, "columns") or "index" not in cases.columns:
            return values, [], f"{message}: {type(problem).__name__}: {first[:200]}"
    listed = [
        place for place in cases["index"] if isinstance(place, (int, float, numbers.Integral))
    ]
    places = sorted({int(place) for place in listed if math.isfinite(place)})
    if not places or places[-1] >= len(frame):
        return values, [], f"{message}."
    good = library.without(part, places)
    try:
        return whole.validate(good, lazy=True)[column], places, None
    except Exception:  # noqa: BLE001
        return values, [], f"{message}."


def look_at_rows(schema: Any, library: Any, frame: Any, where: Where, findings: Findings) -> None:
    """Run every single check on a part of the data."""
    turned: dict[str, Any] = {}
    for column, component in components_of(schema, library, frame).items():
        values, lost, problem = coerced(schema, component, library, frame, column)
        if problem is not None:
            findings.whole(column, f"coerce({component.dtype})", problem)
        seen, place = frame, where
        if lost:
            bad = library.mask(len(frame), lost)
            findings.rows(library, frame, bad, where, column, f"coerce({component.dtype})")
            # The other checks look at the other rows: a second fault is not to wait.
            seen, place = library.without(frame, lost), without(where, len(frame), lost)
        seen = library.replaced(seen, column, values)
        if not lost:
            turned[column] = values
        if not component.nullable:
            bad = library.nulls(seen[column])
            findings.rows(library, seen, bad, place, column, "not_nullable")
        if component.dtype is not None and not library.right_type(component, seen, column):
            found = library.kind(seen, column)
            findings.whole(
                column,
                f"dtype({component.dtype})",
                f"The column {column} has the type {found}, not {component.dtype}.",
            )
        for check in component.checks:
            run_check(check, library, seen, place, column, findings)
    for column, values in turned.items():
        frame = library.replaced(frame, column, values)
    for check in schema.checks:
        run_check(check, library, frame, where, None, findings)


def without(where: Where, height: int, lost: list[int]) -> Where:
    """Give ``where`` for a frame from which the rows ``lost`` were taken."""
    gone = set(lost)
    kept = [place for place in range(height) if place not in gone]
    return lambda place: where(kept[place])


def run_check(
    check: Any, library: Any, frame: Any, where: Where, column: str | None, findings: Findings
) -> None:
    """Run one check; what cannot run has not passed."""
    if getattr(check, "raise_warning", False):
        return
    try:
        answer = library.passed(check, frame, column)
    except Exception as problem:  # noqa: BLE001 - the user's code may raise anything.
        first = (str(problem).strip().splitlines() or [""])[0]
        message = f"{label(check)} cannot be checked: {type(problem).__name__}: {first[:200]}"
        if column is None and findings.sensitive:
            message = f"{label(check)} cannot be checked: {type(problem).__name__}."
        findings.whole(column, label(check), message)
        return
    if isinstance(answer, bool):
        if not answer:
            findings.whole(column, label(check), f"{label(check)} is not true.")
        return
    findings.rows(library, frame, library.inverted(answer), where, column, label(check))


def look_at_uniqueness(
    schema: Any, library: Any, files: list[str], names: list[str], findings: Findings
) -> None:
    """Look for duplicates over all files: only the columns of one rule are read at a time."""
    rules = [[name] for name, item in schema.columns.items() if getattr(item, "unique", False)]
    joint = schema.unique or []
    if joint:
        rules += [list(joint)] if all(isinstance(n, str) for n in joint) else [*map(list, joint)]
    for rule in rules:
        present = [name for name in rule if name in names]
        if not present:
            continue
        frames = [library.read(file, present) for file in files]
        frame = library.concat(frames)
        where = locate([(file, 0, len(part)) for file, part in zip(files, frames, strict=True)])
        column = present[0] if len(rule) == 1 else None
        text = "unique" if column else f"unique({', '.join(rule)})"
        findings.rows(library, frame, library.duplicated(frame, present), where, column, text)


def last_word(schema: Any, library: Any, frame: Any, findings: Findings) -> None:
    """Let Pandera validate the whole; take over what the single checks did not see."""
    try:
        schema.validate(frame, lazy=True)
    except Exception as problem:  # noqa: BLE001 - the user's code may raise anything.
        cases = getattr(problem, "failure_cases", None)
        if cases is None or not hasattr(cases, "columns") or "check" not in cases.columns:
            first = (str(problem).strip().splitlines() or [""])[0]
            findings.whole(None, "validate", f"{type(problem).__name__}: {first[:300]}")
            return
        pairs = {(c, k) for c, k in zip(list(cases["column"]), list(cases["check"]), strict=True)}
        for column, check in sorted(pairs, key=str):
            known = isinstance(column, str) and column in library.columns(frame)
            findings.whole(column if known else None, str(check), f"{check} failed.")


def locate(segments: list[tuple[str, int, int]]) -> Where:
    """Give a function from a row of a frame to file and row, for frames put together of files."""

    def where(place: int) -> tuple[str, int]:
        for file, offset, height in segments:
            if place < height:
                return file, offset + place
            place -= height
        raise IndexError(place)

    return where


def parts_of(library: Any, files: list[str], rows: int) -> Iterator[tuple[Any, Where]]:
    """Give (frame, where): everything at once when it has at most ``rows`` rows, else batches."""
    heights = [library.height(file) for file in files]
    if sum(heights) <= rows:
        frames = [library.read(file) for file in files]
        frame = frames[0] if len(frames) == 1 else library.concat(frames)
        yield frame, locate([(f, 0, height) for f, height in zip(files, heights, strict=True)])
        return
    for file in files:
        for offset, frame in library.parts(file, rows):
            yield frame, locate([(file, offset, len(frame))])


def check_files(
    schema: Any, library: Any, files: list[str], rows: int, findings: Findings
) -> tuple[int, int]:
    """Check all files; give the number of rows and of parts."""
    total = count = 0
    names: list[str] = []
    # A parser rewrites values before they are checked: only Pandera can tell what then holds.
    has_parsers = bool(getattr(schema, "parsers", None)) or any(
        getattr(component, "parsers", None) for component in schema.columns.values()
    )
    for frame, where in parts_of(library, files, rows):
        total += len(frame)
        count += 1
        if not names:
            names = library.columns(frame)
            if not has_parsers:
                look_at_names(schema, library, frame, findings)
        if not has_parsers:
            look_at_rows(schema, library, frame, where, findings)
        if has_parsers or not findings.failures:
            last_word(schema, library, frame, findings)
    look_at_uniqueness(schema, library, files, names, findings)
    return total, count


def main() -> int:
    """Check, and write the answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--schema", required=True)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--batch-rows", type=int, default=2_000_000)
    parser.add_argument("--sensitive", action="append", default=[])
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    findings = Findings(set(args.sensitive))
    answer: dict[str, Any] = {
        "schema": 1, "reference": args.schema, "library": None, "pandera": None, "rows": 0,
        "batched": False, "status": "error", "error": None, "failures": findings.failures,
    }  # fmt: skip
    try:
        schema, kind = import_schema(args.schema)
        library = kind()
        answer["library"] = library.name
        answer["pandera"] = __import__("pandera").__version__
        try:
            answer["rows"], parts = check_files(
                schema, library, args.files, args.batch_rows, findings
            )
            answer["batched"] = parts > len(args.files)
            library.write(findings.examples, args.output / "failures.parquet")
        except ImportError as problem:
            raise Unusable("import", f"lacks a package: {problem}.") from None
        except Exception as problem:  # noqa: BLE001 - the user's code may raise anything.
            lines = [] if args.sensitive else traceback.format_exc().strip().splitlines()
            text = (
                type(problem).__name__ if args.sensitive else f"{type(problem).__name__}: {problem}"
            )
            raise Unusable("data", f"could not check: {text}", lines[-TRACEBACK:]) from None
        answer["status"] = "checked"
    except Unusable as problem:
        answer["error"] = {
            "kind": problem.kind, "message": str(problem), "traceback": problem.lines
        }  # fmt: skip
    partial = args.output / ".schema.json.partial"
    partial.write_text(json.dumps(answer, indent=2), encoding="utf-8")
    partial.replace(args.output / "schema.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
