"""From a request's body to columns, checked against the model's MLflow signature.

Nothing here needs pandas: a request that is refused costs little. Columns that the signature does
not know are ignored, as MLflow does: while one version replaces another, callers send the columns
of both.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import math
from collections.abc import Callable
from typing import Any

MAX_PROBLEMS = 20  # Of those that one answer lists.
_RANGES = {"integer": 1 << 31, "long": 1 << 63}
_FORMS = ("records", "dataframe_records", "dataframe_split", "inputs")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """A named column of a signature, with MLflow's name of its type."""

    name: str
    type: str
    required: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """What a model takes: named columns, one unnamed tensor, or (neither) anything."""

    fields: tuple[Field, ...] = ()
    dtype: str | None = None  # Of the tensor, in NumPy's words.
    shape: tuple[int, ...] = ()  # Of the tensor; -1 is any length.

    @classmethod
    def parse(cls, text: str | None) -> Signature:
        """Read ``signature.inputs`` of an MLmodel file, which is JSON."""
        parts = json.loads(text) if text else []
        if any(part.get("type") == "tensor" for part in parts):
            if len(parts) > 1 or parts[0].get("name"):
                raise ValueError("a signature of several tensors is not served")
            spec = parts[0]["tensor-spec"]
            return cls(dtype=spec["dtype"], shape=tuple(spec["shape"]))
        return cls(
            fields=tuple(
                Field(
                    name=str(part.get("name", index)),
                    type=part["type"],
                    required=part.get("required", True),
                )
                for index, part in enumerate(parts)
            )
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with one value; ``row`` counts from 0."""

    message: str
    field: str | None = None
    row: int | None = None


class Unfit(ValueError):
    """A value that a column does not take."""


class Refused(Exception):
    """A request that the model never sees; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str, problems: list[Problem] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.problems = problems or []


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Checked input: ``columns`` by name with their types, or the rows of a tensor."""

    rows: int
    columns: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    types: dict[str, str] = dataclasses.field(default_factory=dict)
    tensor: list[Any] | None = None


def read(body: bytes, signature: Signature, *, max_rows: int) -> Table:
    """Read a body such as ``{"records": [{"age": 3}]}`` or MLflow's ``dataframe_split``.

    Raises :class:`Refused` with 400 for what is not JSON of a known form, 413 for too many rows
    and 422, with field and row, for what the signature does not allow.
    """
    form, content = _parse(body)
    if signature.dtype is not None:
        if form != "inputs":
            raise Refused(422, 'this model takes an array: {"inputs": [[...], ...]}')
        return _tensor(content, signature, max_rows)
    if form == "inputs":
        raise Refused(422, 'this model takes named columns: {"records": [{...}, ...]}')
    columns, rows = (
        _from_split(content, max_rows)
        if form == "dataframe_split"
        else _from_records(content, signature, max_rows)
    )
    if not signature.fields:
        return Table(rows=rows, columns=columns)
    return _checked(columns, rows, signature)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _parse(body: bytes) -> tuple[str, Any]:
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:
        raise Refused(400, f"the body is not JSON: {problem}") from None
    known = [form for form in _FORMS if isinstance(document, dict) and form in document]
    if len(known) != 1:
        raise Refused(400, f"the body is an object with one of the keys {', '.join(_FORMS)}")
    if document.get("params"):
        raise Refused(422, "this server passes no params to the model", [_problem("params")])
    return known[0], document[known[0]]


def _problem(field: str) -> Problem:
    return Problem(field=field, message="not supported")


def _limit(rows: int, max_rows: int) -> None:
    if rows > max_rows:
        raise Refused(413, f"{rows} rows; this server takes {max_rows} at once")


_MISSING = object()


def _from_records(
    content: Any, signature: Signature, max_rows: int
) -> tuple[dict[str, list[Any]], int]:
    if not isinstance(content, list) or not content:
        raise Refused(422, "records is a list with at least one record")
    _limit(len(content), max_rows)
    wrong = [
        Problem(row=row, message=f"expected an object, got {_kind(record)}")
        for row, record in enumerate(content)
        if not isinstance(record, dict)
    ]
    if wrong:
        raise Refused(422, "the records do not fit the model", wrong[:MAX_PROBLEMS])
    names = [field.name for field in signature.fields]
    if not names:
        names = list(dict.fromkeys(name for record in content for name in record))
    columns = {name: [record.get(name, _MISSING) for record in content] for name in names}
    return columns, len(content)


def _from_split(content: Any, max_rows: int) -> tuple[dict[str, list[Any]], int]:
    names = content.get("columns") if isinstance(content, dict) else None
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(names, list) or not isinstance(data, list) or not data:
        raise Refused(422, "dataframe_split has columns, a list of names, and data, a list of rows")
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise Refused(422, "dataframe_split.columns names each column once")
    _limit(len(data), max_rows)
    wrong = [
        Problem(row=row, message=f"expected a list of {len(names)} values")
        for row, values in enumerate(data)
        if not isinstance(values, list) or len(values) != len(names)
    ]
    if wrong:
        raise Refused(422, "the rows do not fit their columns", wrong[:MAX_PROBLEMS])
    return {name: [row[index] for row in data] for index, name in enumerate(names)}, len(data)


def _checked(columns: dict[str, list[Any]], rows: int, signature: Signature) -> Table:
    problems: list[Problem] = []
    kept: dict[str, list[Any]] = {}
    for field in signature.fields:
        values = columns.get(field.name)
        absent = values is None or all(value is _MISSING for value in values)
        if absent and not field.required:
            continue
        if values is None:
            values = [_MISSING] * rows
        kept[field.name] = _convert(field, values, problems)
        if len(problems) >= MAX_PROBLEMS:
            break
    if problems:
        first = problems[0]
        where = f"{first.field}, row {first.row}: {first.message}"
        raise Refused(422, f"the input does not fit the model: {where}", problems[:MAX_PROBLEMS])
    types = {field.name: field.type for field in signature.fields if field.name in kept}
    return Table(rows=rows, columns=kept, types=types)


def _convert(field: Field, values: list[Any], problems: list[Problem]) -> list[Any]:
    converter = _CONVERTERS.get(field.type, lambda value: value)
    converted = []
    for row, value in enumerate(values):
        try:
            if value is _MISSING and field.required:
                raise Unfit("missing")
            # One that only other rows have becomes null, where the type knows null.
            converted.append(converter(None if value is _MISSING else value))
        except Unfit as problem:
            problems.append(Problem(field=field.name, row=row, message=str(problem)))
            if len(problems) >= MAX_PROBLEMS:
                break
    return converted


def _kind(value: object) -> str:
    words = {type(None): "null", bool: "a boolean", str: "a string", dict: "an object"}
    return words.get(type(value), "a list" if isinstance(value, list) else "a number")


def _whole(limit: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        whole = isinstance(value, float) and value.is_integer()
        if not whole and (isinstance(value, bool) or not isinstance(value, int)):
            shown = "a fraction" if isinstance(value, float) else _kind(value)
            raise Unfit(f"expected a whole number, got {shown}")
        number = int(value)
        if not -limit <= number < limit:
            raise Unfit(f"{limit.bit_length()} bits do not hold the number")
        return number

    return convert


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unfit(f"expected a number, got {_kind(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Unfit("the number is too large")
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit(f"expected true or false, got {_kind(value)}")
    return value


def _string(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Unfit(f"expected a string, got {_kind(value)}")
    if value is not None and any("\ud800" <= character <= "\udfff" for character in value):
        raise Unfit("expected text; half a surrogate pair is none")
    return value


# What pandas counts in nanoseconds, which is what MLflow's datetime is.
_FIRST, _LAST = datetime.datetime(1677, 9, 22), datetime.datetime(2262, 4, 11)  # noqa: DTZ001


def _datetime(value: Any) -> datetime.datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unfit(f"expected a date and time such as 2026-01-31T12:00, got {_kind(value)}")
    try:
        moment = datetime.datetime.fromisoformat(value)
        if moment.tzinfo:  # MLflow's datetime has no zone: it is UTC.
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise Unfit("expected a date and time such as 2026-01-31T12:00") from None
    if not _FIRST <= moment <= _LAST:
        raise Unfit(f"expected a time from {_FIRST:%Y-%m-%d} to {_LAST:%Y-%m-%d}")
    return moment


def _binary(value: Any) -> bytes | None:
    if value is None:
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise Unfit("expected bytes in base64") from None


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "integer": _whole(_RANGES["integer"]),
    "long": _whole(_RANGES["long"]),
    "float": _number,
    "double": _number,
    "boolean": _boolean,
    "string": _string,
    "datetime": _datetime,
    "binary": _binary,
}


def _tensor(content: Any, signature: Signature, max_rows: int) -> Table:
    if not isinstance(content, list) or not content:
        raise Refused(422, "inputs is a list with at least one row")
    _limit(len(content), max_rows)
    convert = _tensor_value(signature.dtype or "")
    problems = []
    rows = []
    for row, values in enumerate(content):
        try:
            rows.append(_nested(values, signature.shape[1:], convert))
        except Unfit as problem:
            problems.append(Problem(field="inputs", row=row, message=str(problem)))
            if len(problems) >= MAX_PROBLEMS:
                break
    if problems:
        message = f"the input does not fit the model: row {problems[0].row}: {problems[0].message}"
        raise Refused(422, message, problems)
    return Table(rows=len(rows), tensor=rows)


def _tensor_value(dtype: str) -> Callable[[Any], Any]:
    if dtype.startswith(("int", "uint")):
        return _CONVERTERS["long"]
    if dtype.startswith("float"):
        return _number
    return _boolean if dtype == "bool" else (lambda value: value)


def _nested(values: Any, shape: tuple[int, ...], convert: Callable[[Any], Any]) -> Any:
    if not shape:
        return convert(values)
    if not isinstance(values, list) or (shape[0] != -1 and len(values) != shape[0]):
        length = "" if shape[0] == -1 else f" of {shape[0]}"
        raise Unfit(f"expected a list{length}")
    return [_nested(value, shape[1:], convert) for value in values]
