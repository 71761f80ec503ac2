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
import os
import sys
import traceback
from pathlib import Path

LIMIT = 10
TRACEBACK = 12  # Lines.


class Unusable(Exception):
    """The schema or the data cannot be used; ``kind`` says which."""

    def __init__(self, kind: str, message: str, lines: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind, self.lines = kind, lines or []


def import_schema(reference: str):
    """Import the schema; give Pandera's DataFrameSchema and the library it is for."""
    module, _, name = reference.partition(":")
    sys.path.insert(0, os.getcwd())
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
        raise Unusable("not_a_schema", f"is no Pandera schema but a {type(found).__name__}.")
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

    def _lazy(self, file: str):
        if file.endswith(".parquet"):
            return self.library.scan_parquet(file, hive_partitioning=False)
        return self.library.scan_csv(file, infer_schema_length=None, try_parse_dates=True)

    def height(self, file: str) -> int:
        return self._lazy(file).select(self.library.len()).collect().item()

    def read(self, file: str, columns=None):
        lazy = self._lazy(file)
        return (lazy if columns is None else lazy.select(columns)).collect()

    def parts(self, file: str, rows: int):
        height = self.height(file)
        for offset in range(0, height, rows):
            yield offset, self._lazy(file).slice(offset, rows).collect()

    def concat(self, frames):
        return self.library.concat(frames)

    def columns(self, frame) -> list[str]:
        return list(frame.columns)

    def nulls(self, values):
        return values.is_null() | values.is_nan() if values.dtype.is_float() else values.is_null()

    def duplicated(self, frame, columns):
        return frame.select(columns).is_duplicated()

    def kind(self, frame, column: str):
        return frame.schema[column]

    def right_type(self, component, frame, column: str) -> bool:
        from pandera.api.polars.types import PolarsData

        kind = frame.schema[column]
        return bool(component.dtype.check(kind, PolarsData(frame.lazy(), column)))

    def passed(self, check, frame, column: str | None):
        """Give one Boolean a row, or a single Boolean."""
        # Lazy frames only inside: the check's own expressions; the answer is collected here.
        result = check(frame.lazy(), column) if column else check(frame.lazy())
        answer = result.check_output.collect().to_series().fill_null(value=True)
        return answer if len(answer) == frame.height else bool(answer.all())

    def wrong_rows(self, bad):
        return int(bad.sum()), bad.arg_true().head(LIMIT).to_list()

    def inverted(self, answer):
        return ~answer

    def value(self, frame, column: str, row: int):
        return frame[column][row]

    def write(self, rows, path: Path) -> None:
        kinds = {"failure": self.library.Int64, "file": self.library.String,
                 "row": self.library.Int64, "value": self.library.String}  # fmt: skip
        self.library.DataFrame(rows, schema=kinds).write_parquet(path)


class Pandas:
    """Frames of pandas."""

    name = "pandas"

    def __init__(self) -> None:
        import pandas

        self.library = pandas

    def _parquet(self, file: str):
        import pyarrow.parquet

        return pyarrow.parquet.ParquetFile(file)

    def height(self, file: str) -> int:
        if file.endswith(".parquet"):
            try:
                return self._parquet(file).metadata.num_rows
            except ImportError:
                return len(self.library.read_parquet(file))
        return sum(len(part) for part in self.library.read_csv(file, chunksize=500_000))

    def read(self, file: str, columns=None):
        if file.endswith(".parquet"):
            return self.library.read_parquet(file, columns=columns)
        return self.library.read_csv(file, usecols=columns)

    def parts(self, file: str, rows: int):
        offset = 0
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

    def concat(self, frames):
        return self.library.concat(frames, ignore_index=True)

    def columns(self, frame) -> list[str]:
        return list(frame.columns)

    def nulls(self, values):
        return values.isna()

    def duplicated(self, frame, columns):
        return frame.duplicated(subset=list(columns), keep=False)

    def kind(self, frame, column: str):
        return frame[column].dtype

    def right_type(self, component, frame, column: str) -> bool:
        import numpy
        from pandera.engines import pandas_engine

        kind = pandas_engine.Engine.dtype(frame[column].dtype)
        answer = component.dtype.check(kind, frame[column])
        return bool(numpy.all(answer))

    def passed(self, check, frame, column: str | None):
        """Give one Boolean a row, or a single Boolean."""
        result = check(frame, column) if column else check(frame)
        answer = result.check_output
        if isinstance(answer, self.library.DataFrame):
            answer = answer.all(axis=1)
        if isinstance(answer, self.library.Series) and len(answer) == len(frame):
            return answer.fillna(True).astype(bool).reset_index(drop=True)
        return bool(result.check_passed)

    def wrong_rows(self, bad):
        places = bad.to_numpy(dtype=bool).nonzero()[0]
        return len(places), [int(place) for place in places[:LIMIT]]

    def inverted(self, answer):
        return ~answer

    def value(self, frame, column: str, row: int):
        return frame[column].iloc[row]

    def write(self, rows, path: Path) -> None:
        table = self.library.DataFrame(rows, columns=["failure", "file", "row", "value"])
        kinds = {"failure": "int64", "row": "int64", "file": "string", "value": "string"}
        table.astype(kinds).to_parquet(path, index=False)


class Findings:
    """Failures by column and check, over all parts of the data."""

    def __init__(self, sensitive: set[str]) -> None:
        self.sensitive = sensitive
        self.failures: list[dict] = []
        self.examples: list[dict] = []
        self._places: dict[tuple, int] = {}

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

    def rows(self, library, frame, bad, where, column: str | None, check: str) -> None:
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
            value = None if hidden else str(library.value(frame, column, place))[:200]
            self.examples.append({"failure": number, "file": file, "row": row, "value": value})


def label(check) -> str:
    """Name a check as its author would."""
    return str(check.error or check.name or "check")


def components_of(schema, library, frame) -> dict:
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


def look_at_names(schema, library, frame, findings: Findings) -> None:
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


def coerced(schema, component, library, frame, column: str, findings: Findings, where):
    """Give the frame with a column as its declared type, where the schema asks for it."""
    if component.dtype is None or not (schema.coerce or component.coerce):
        return frame
    alone = copy.deepcopy(component)
    alone.checks, alone.nullable, alone.unique, alone.coerce = [], True, False, True
    alone.name, alone.regex = column, False
    whole = type(schema)(columns={column: alone})
    try:
        part = frame[[column]] if library.name == "pandas" else frame.select(column)
        values = whole.validate(part, lazy=False)[column]
    except Exception as problem:
        first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        findings.whole(column, f"coerce({component.dtype})", first[:300])
        return frame
    if library.name == "pandas":
        return frame.assign(**{column: values})
    return frame.with_columns(values.alias(column))


def look_at_rows(schema, library, frame, where, findings: Findings) -> None:
    """Run every single check on a part of the data."""
    for column, component in components_of(schema, library, frame).items():
        seen = coerced(schema, component, library, frame, column, findings, where)
        if not component.nullable:
            bad = library.nulls(seen[column])
            findings.rows(library, seen, bad, where, column, "not_nullable")
        if component.dtype is not None and not library.right_type(component, seen, column):
            found = library.kind(seen, column)
            findings.whole(
                column,
                f"dtype({component.dtype})",
                f"The column {column} has the type {found}, not {component.dtype}.",
            )
        for check in component.checks:
            run_check(check, library, seen, where, column, findings)
    for check in schema.checks:
        run_check(check, library, frame, where, None, findings)


def run_check(check, library, frame, where, column: str | None, findings: Findings) -> None:
    """Run one check; what cannot run has not passed."""
    if getattr(check, "raise_warning", False):
        return
    try:
        answer = library.passed(check, frame, column)
    except Exception as problem:
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


def look_at_uniqueness(schema, library, files, names, findings: Findings) -> None:
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
        where = locate([(file, 0, len(part)) for file, part in zip(files, frames)])
        column = present[0] if len(rule) == 1 else None
        text = "unique" if column else f"unique({', '.join(rule)})"
        findings.rows(library, frame, library.duplicated(frame, present), where, column, text)


def last_word(schema, library, frame, findings: Findings) -> None:
    """Let Pandera validate the whole; take over what the single checks did not see."""
    try:
        schema.validate(frame, lazy=True)
    except Exception as problem:
        cases = getattr(problem, "failure_cases", None)
        if cases is None or not hasattr(cases, "columns") or "check" not in cases.columns:
            first = (str(problem).strip().splitlines() or [""])[0]
            findings.whole(None, "validate", f"{type(problem).__name__}: {first[:300]}")
            return
        pairs = {(c, k) for c, k in zip(list(cases["column"]), list(cases["check"]))}
        for column, check in sorted(pairs, key=str):
            known = isinstance(column, str) and column in library.columns(frame)
            findings.whole(column if known else None, str(check), f"{check} failed.")


def locate(segments):
    """Give a function from a row of a frame to file and row, for frames put together of files."""

    def where(place: int) -> tuple[str, int]:
        for file, offset, height in segments:
            if place < height:
                return file, offset + place
            place -= height
        raise IndexError(place)

    return where


def parts_of(library, files: list[str], rows: int):
    """Give (frame, where): everything at once when it has at most ``rows`` rows, else batches."""
    heights = [library.height(file) for file in files]
    if sum(heights) <= rows:
        frames = [library.read(file) for file in files]
        frame = frames[0] if len(frames) == 1 else library.concat(frames)
        yield frame, locate([(f, 0, height) for f, height in zip(files, heights)])
        return
    for file in files:
        for offset, frame in library.parts(file, rows):
            yield frame, locate([(file, offset, len(frame))])


def check_files(schema, library, files: list[str], rows: int, findings: Findings) -> tuple:
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
    answer = {
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
        except Exception as problem:
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
