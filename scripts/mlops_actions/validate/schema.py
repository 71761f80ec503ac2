"""A Pandera schema in YAML, checked batch by batch in our environment.

Pandera reads the YAML and runs each check; we ask each of them by itself and put the answers
together. Its own lazy mode stops at a missing or an added column, at a failed coercion, and at
the first of several unique rules (unionai-oss/pandera#1993, #532), makes a failure case of every
bad value, and knows nothing of batches. What passes here passes Pandera; what fails in Pandera
fails here. Two words mean more here: ``drop_invalid_rows`` drops nothing, and ``coerce`` accepts
only what loses nothing (1.5 is no integer). The columns of a CSV are always coerced, for it has
no types.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from mlops_actions import evidence
from mlops_actions.config import did_you_mean, impossible_date, said_of_yaml
from mlops_actions.errors import ConfigurationError
from mlops_actions.validate.examples import LIMIT, Shown, Tally, counted
from mlops_actions.validate.keys import Uniqueness
from mlops_actions.validate.source import Batch, Source

_FRAME_KEYS = {
    "schema_type", "version", "api", "columns", "checks", "index", "dtype", "coerce", "strict",
    "name", "ordered", "unique", "report_duplicates", "unique_column_names",
    "add_missing_columns", "title", "description",
}  # fmt: skip
_COLUMN_KEYS = {
    "title", "description", "dtype", "nullable", "checks", "name", "unique", "coerce", "required",
    "regex", "default", "report_duplicates", "drop_invalid_rows",
}  # fmt: skip
_CHECKS = {
    "eq", "equal_to", "ne", "not_equal_to", "gt", "greater_than", "ge",
    "greater_than_or_equal_to", "lt", "less_than", "le", "less_than_or_equal_to", "between",
    "in_range", "isin", "notin", "str_matches", "str_contains", "str_startswith", "str_endswith",
    "str_length", "unique_values_eq",
}  # fmt: skip
_OPTIONS = {"check_name", "ignore_na", "n_failure_cases", "raise_warning"}
_PANDAS = (
    "This schema was made for pandas. Write schema_type: polars_dataframe, name the types as "
    "polars does (Int64, Float64, String, Boolean, Date, Datetime), and take out index."
)

_Wrong = Callable[..., ConfigurationError]  # Of a message and the keys that lead to the place.


def load(file: Path) -> Any:
    """Read a schema; give Pandera's ``DataFrameSchema`` for polars.

    Raises :class:`ConfigurationError` with file and line: Pandera passes over unknown keys, and
    over checks written beside ``checks``, so a slip of the pen would check nothing.
    """
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
        lines = _lines(yaml.compose(text, Loader=yaml.SafeLoader), ())
    except FileNotFoundError:
        raise ConfigurationError("There is no such schema.", file=file) from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError(f"The schema cannot be read: {problem}.", file=file) from None
    except RecursionError:
        raise ConfigurationError("Nested too deeply.", file=file) from None
    except _Repeated as problem:
        raise ConfigurationError(
            f"{problem.key} stands here twice.", file=file, line=problem.line
        ) from None
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        raise ConfigurationError(
            f"Not valid YAML: {said_of_yaml(problem)}.",
            file=file,
            line=mark.line + 1 if mark else None,
        ) from None
    except ValueError as problem:  # A date that no calendar has.
        raise ConfigurationError(
            f"Not valid YAML: {problem}.", file=file, line=impossible_date(text)
        ) from None
    if not isinstance(document, dict):
        raise ConfigurationError("Expected a Pandera schema: a mapping.", file=file, line=1)

    def wrong(message: str, *where: str) -> ConfigurationError:
        above = (lines.get(where[:length]) for length in range(len(where), 0, -1))
        return ConfigurationError(message, file=file, line=next(filter(None, above), None))

    _inspect(document, wrong)
    schema = _build(document, wrong)
    if not schema.columns and not schema.checks and schema.dtype is None:
        raise ConfigurationError("The schema asks for nothing.", file=file)
    return schema


def _build(document: dict[str, Any], wrong: _Wrong) -> Any:
    # Reading a check of a column with a type, Pandera imports pandas, which is not ours to have
    # (0.5 s): it reads the types and the checks apart.
    from pandera.io import polars_io

    read: Callable[[Any], Any] = polars_io.deserialize_schema
    components = {}
    for name, item in (document.get("columns") or {}).items():
        types = {key: value for key, value in item.items() if key in _COLUMN_KEYS - {"checks"}}
        checks = {key: value for key, value in item.items() if key in _CHECKS | {"checks"}}
        with _refusing(wrong, f"the column {name}", "columns", name):
            component = read({"columns": {name: types}}).columns[name]
            kind = getattr(component.dtype, "type", None)
            if isinstance(kind, (pl.Date, pl.Datetime)) or kind in {pl.Date, pl.Datetime}:
                checks = _as_times(checks, date=kind == pl.Date)
            checked = read({"columns": {name: copy.deepcopy(checks)}})
            component.checks = checked.columns[name].checks
            for check in component.checks:
                _try_pattern(check)
        components[name] = component
    for part in ("dtype", "checks"):
        with _refusing(wrong, part, part):
            read({part: copy.deepcopy(document.get(part))})
    with _refusing(wrong, "the schema"):
        schema = read(document | {"columns": None})
    schema.columns = components
    return schema


@contextlib.contextmanager
def _refusing(wrong: _Wrong, what: str, *where: str) -> Iterator[None]:
    try:
        yield
    except Exception as problem:  # noqa: BLE001 - whatever Pandera stumbles over is in the file.
        raise wrong(f"Pandera cannot read {what}: {str(problem).rstrip('. ')}.", *where) from None


def _try_pattern(check: Any) -> None:
    """Raise :class:`ValueError` where the check has a regular expression that polars cannot read.

    Pandera has asked Python, which knows more of them.
    """
    if check.name not in {"str_matches", "str_contains"}:
        return
    try:
        check(pl.LazyFrame(schema={"": pl.String}), "").check_output.collect()
    except pl.exceptions.PolarsError as problem:
        reasons = [line for line in str(problem).splitlines() if line.startswith("error: ")]
        reason = reasons[0].removeprefix("error: ") if reasons else str(problem)
        raise ValueError(f"{check.name}: {reason}") from None


def _as_times(value: Any, *, date: bool) -> Any:
    """Read the text in the checks of a time column as times."""
    if isinstance(value, dict):
        return {
            key: item if key == "options" else _as_times(item, date=date)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_as_times(item, date=date) for item in value]
    if isinstance(value, str):
        moment = datetime.datetime.fromisoformat(value)
        return moment.date() if date else moment
    return value


def _lines(node: Any, where: tuple[str, ...]) -> dict[tuple[str, ...], int]:
    lines: dict[tuple[str, ...], int] = {}
    if getattr(node, "id", None) != "mapping":
        return lines
    for key, value in node.value:
        path = (*where, str(key.value))
        if path in lines:
            raise _Repeated(path[-1], key.start_mark.line + 1)
        lines[path] = key.start_mark.line + 1
        lines |= _lines(value, path)
    return lines


class _Repeated(Exception):
    def __init__(self, key: str, line: int) -> None:
        super().__init__(key)
        self.key, self.line = key, line


def _inspect(document: dict[str, Any], wrong: _Wrong) -> None:
    kind = document.get("schema_type", "polars_dataframe")
    if kind != "polars_dataframe":
        made = _PANDAS if kind == "dataframe" else f"schema_type {kind} is not polars_dataframe."
        raise wrong(made, "schema_type")
    if document.get("index"):
        raise wrong(_PANDAS, "index")
    for key in document:
        if key not in _FRAME_KEYS:
            raise wrong(_unknown(key, _FRAME_KEYS), str(key))
    if document.get("strict") != "filter":
        _inspect_switch(document, "strict", wrong)
    for key in ("coerce", "ordered", "unique_column_names", "add_missing_columns"):
        _inspect_switch(document, key, wrong)
    unique = document.get("unique") or []
    if not isinstance(unique, str) and not any(
        isinstance(unique, list) and all(map(holds, unique)) for holds in (_is_text, _are_texts)
    ):
        raise wrong("unique: expected a column, columns, or lists of columns.", "unique")
    columns = document.get("columns") or {}
    if not isinstance(columns, dict):
        raise wrong("columns: expected a mapping of columns.", "columns")
    for column, settings in columns.items():
        if not isinstance(column, str):
            raise wrong(f"Column {column}: put its name in quotes.", "columns", str(column))
        _inspect_column(column, settings, wrong)
    _inspect_checks(document.get("checks"), wrong, "checks")


def _inspect_column(column: str, settings: Any, wrong: _Wrong) -> None:
    at = ("columns", column)
    if not isinstance(settings, dict):
        raise wrong(f"Column {column}: expected a mapping.", *at)
    for key in settings:
        if key not in _COLUMN_KEYS | _CHECKS:
            raise wrong(f"Column {column}: {_unknown(key, _COLUMN_KEYS | _CHECKS)}", *at, str(key))
        if key in _CHECKS and settings.get("checks") is not None:
            raise wrong(f"Column {column}: write {key} under checks, with the others.", *at, key)
    for key in ("nullable", "unique", "coerce", "required", "regex", "drop_invalid_rows"):
        _inspect_switch(settings, key, wrong, *at)
    if settings.get("regex"):
        try:
            re.compile(_pattern(column))
        except re.error as problem:
            raise wrong(f"Column {column}: no regular expression: {problem}.", *at) from None
    _inspect_checks(settings.get("checks"), wrong, *at, "checks")
    _inspect_checks({key: settings[key] for key in settings if key in _CHECKS}, wrong, *at)


def _inspect_switch(settings: Mapping[str, Any], key: str, wrong: _Wrong, *where: str) -> None:
    value = settings.get(key)
    if value is not None and not isinstance(value, bool):  # Pandera takes any word for true.
        raise wrong(f"{key}: expected true or false, not {value!r}.", *where, key)


def _inspect_checks(checks: Any, wrong: _Wrong, *where: str) -> None:
    if checks is None:
        return
    if isinstance(checks, dict):
        named: Iterable[tuple[Any, Any]] = checks.items()
    elif isinstance(checks, list) and all(isinstance(item, dict) for item in checks):
        named = [(_options(item, wrong, *where).get("check_name"), item) for item in checks]
    else:
        raise wrong("checks: expected a mapping of checks.", *where)
    for name, item in named:
        if str(name) not in _CHECKS:
            raise wrong(f"checks: {_unknown(name, _CHECKS)}", *where, str(name))
        _options(item, wrong, *where, str(name))


def _options(check: Any, wrong: _Wrong, *where: str) -> dict[str, Any]:
    options = check.get("options") if isinstance(check, dict) else None
    if options is None:
        return {}
    if not isinstance(options, dict) or not set(options) <= _OPTIONS:
        raise wrong(f"options: expected {', '.join(sorted(_OPTIONS))}.", *where)
    return options


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _unknown(name: object, known: Collection[str]) -> str:
    return f"{name} is unknown to Pandera.{did_you_mean(name, known)}"


def text_columns(schema: Any) -> set[str]:
    """Columns that a CSV reader must leave as they are written."""
    return {
        name
        for name, component in schema.columns.items()
        if component.dtype is not None
        and getattr(component.dtype, "type", None) in {pl.String, pl.Categorical, pl.Enum}
    }


class Checker:
    """Checks one :class:`Source` against a schema, as its batches go by."""

    def __init__(self, schema: Any, source: Source, rule: Shown) -> None:
        self._schema = schema
        self._source = source
        self._rule = rule
        self._tallies: dict[str, tuple[Tally, str]] = {}
        self._skipped: list[evidence.Check] = []
        self._warned: set[str] = set()
        self._values: dict[str, set[Any]] = {}
        self._uniques: list[tuple[str, Uniqueness]] = []
        self._components = self._match_columns()
        self._name_checks()

    def _match_columns(self) -> dict[str, Any]:
        """Find the component of each column; note columns gone, added, out of order."""
        schema, present = self._schema, list(self._source.columns)
        components: dict[str, Any] = {}
        explicit = {name for name, item in schema.columns.items() if not item.regex}
        for name, component in schema.columns.items():
            if component.regex:
                matches = [
                    column
                    for column in present
                    if column not in explicit and re.search(_pattern(name), column)
                ]
                components |= dict.fromkeys(matches, component)
                if component.required:
                    tally = self._tally(f"schema:{name}:present", "at least one such column")
                    if not matches:
                        tally.fail(f"No column matches {name}.")
                continue
            if name in present:
                components[name] = component
                continue
            added = schema.add_missing_columns and (
                component.default is not None or component.nullable
            )
            if component.required and not added:
                tally = self._tally(f"schema:{name}:present", "present")
                tally.fail(f"The column {name} is missing.{_near(name, present, schema.columns)}")
                self._skipped += [
                    evidence.check(f"schema:{name}:{check.name}", "skipped", None, _asked(check))
                    for check in component.checks
                ]
        if not schema.columns and schema.dtype is not None:
            from pandera.polars import Column

            components = {name: Column(schema.dtype, name=name) for name in present}
        if schema.strict is True:
            for name in present:
                if name not in components:
                    self._tally(f"schema:{name}:in_schema", "known to the schema").fail(
                        f"The column {name} is not in the schema, which is strict."
                    )
        if schema.ordered:
            tally = self._tally("schema:*:ordered", "the order of the schema")
            found = [name for name in present if name in components]
            if found != list(components):
                tally.fail(f"The columns stand in another order than {', '.join(components)}.")
        return components

    def _name_checks(self) -> None:
        for column, component in self._components.items():
            dtype = self._dtype(component)
            if dtype is not None:
                self._tally(f"schema:{column}:dtype", str(dtype))
            if not component.nullable:
                self._tally(f"schema:{column}:nullable", "no nulls")
            if component.unique:
                self._add_unique(column, [column])
            for name, check in _numbered(component.checks):
                self._tally(f"schema:{column}:{name}", _asked(check))
        for name, check in _numbered(self._schema.checks):
            self._tally(f"schema:*:{name}", _asked(check))
        rules = self._schema.unique or []
        for rule in [rules] if all(isinstance(item, str) for item in rules) else rules:
            present = [name for name in rule if name in self._source.columns]
            for name in rule:
                # One that the schema describes has failed by its absence.
                if name not in present and name not in self._schema.columns:
                    near = did_you_mean(name, self._source.columns)
                    tally = self._tally(f"schema:{name}:present", "present")
                    tally.fail(f"The column {name}, which unique names, is missing.{near}")
            if present:
                self._add_unique("+".join(rule), present)

    def _add_unique(self, label: str, columns: list[str]) -> None:
        self._uniques.append((label, Uniqueness(columns, self._rule)))

    def _tally(self, name: str, required: str) -> Tally:
        return self._tallies.setdefault(name, (Tally(), required))[0]

    def _dtype(self, component: Any) -> Any:
        return self._schema.dtype or component.dtype

    def add(self, batch: Batch) -> None:
        """Check the rows of one batch."""
        prepared: dict[str, pl.Series] = {}
        for column, component in self._components.items():
            values = self._coerce(column, component, batch)
            if component.default is not None:
                if values.dtype.is_float():
                    values = values.fill_nan(None)
                try:
                    values = values.fill_null(component.default)
                except (pl.exceptions.PolarsError, TypeError):
                    self._tally(f"schema:{column}:default", "a value of the column's type").fail(
                        f"The default of the column {column} does not fit its type, "
                        f"{values.dtype}.",
                        batch,
                    )
            prepared[column] = values
            if not component.nullable:
                bad = values.is_null()
                if values.dtype.is_float():  # Pandera takes NaN for a null here.
                    bad |= values.is_nan().fill_null(value=False)
                if values.dtype != batch.frame[column].dtype:
                    bad &= batch.frame[column].is_null()  # The others failed the type.
                self._tallies[f"schema:{column}:nullable"][0].add(bad, batch, self._rule, column)
            frame = values.alias(column).to_frame()
            for name, check in _numbered(component.checks):
                self._run(f"schema:{column}:{name}", check, frame, batch, column)
        if self._schema.checks:
            whole = batch.frame.with_columns(
                values.alias(column) for column, values in prepared.items()
            )
            for name, check in _numbered(self._schema.checks):
                self._run(f"schema:*:{name}", check, whole, batch, None)
        for _, unique in self._uniques:
            unique.add(batch)

    def _coerce(self, column: str, component: Any, batch: Batch) -> pl.Series:
        """Give the values as the declared type where that loses nothing; note where it does."""
        values, dtype = batch.frame[column], self._dtype(component)
        if dtype is None:
            return values
        from pandera.api.polars.types import PolarsData

        name = f"schema:{column}:dtype"
        tally, found = self._tallies[name][0], values.dtype
        if bool(dtype.check(found, PolarsData(batch.frame.lazy(), column))):
            return values
        wanted = getattr(dtype, "type", None)
        cast = None if wanted is None else _cast(values, wanted)
        wrong = f"The column {column} has the type {found}, not {dtype}."
        coerced = self._schema.coerce or component.coerce or self._source.is_csv
        if not coerced or cast is None:
            tally.fail(wrong, batch)
        else:
            lost = values.is_not_null() & cast.is_null()
            tally.add(lost, batch, self._rule, column)
            if tally.failed:
                tally.message = f"The column {column} has values that are no {dtype}."
        # With a wrong type, the checks look at what can be read as the right one: a second
        # fault must not wait until the first is mended.
        return values if cast is None else cast

    def _run(
        self, name: str, check: Any, frame: pl.DataFrame, batch: Batch, column: str | None
    ) -> None:
        tally = self._tallies[name][0]
        hidden = column is None or column in self._rule.sensitive
        if check.name == "unique_values_eq" and column is not None:
            # Of the whole column, not of a batch.
            self._values.setdefault(name, set()).update(
                frame[column].drop_nulls().unique().to_list()
            )
            return
        try:
            result = check(frame.lazy(), column) if column else check(frame.lazy())
            passed = result.check_output.collect().to_series()
        except Exception as problem:  # noqa: BLE001 - a check that cannot run has not passed.
            detail = "" if hidden else f": {str(problem).strip().splitlines()[0][:200]}"
            kind = f" on the type {frame[column].dtype}" if column else ""
            tally.fail(f"{_asked(check)} cannot be checked{kind}{detail}.", batch)
            return
        bad = ~passed.fill_null(value=bool(check.ignore_na))
        if check.raise_warning:
            self._warned.add(name)
        if len(bad) == batch.frame.height:
            tally.add(bad, batch, self._rule, column)
        elif bad.any():
            tally.fail(f"{_asked(check)} is not true.", batch)

    def finish(self) -> list[evidence.Check]:
        """Give every check, after the last batch."""
        for column, component in self._components.items():
            for label, check in _numbered(component.checks):
                name = f"schema:{column}:{label}"
                if check.name == "unique_values_eq" and name in self._values:
                    self._compare_values(name, column, check)
        checks = [self._check(name, *entry) for name, entry in self._tallies.items()]
        for label, unique in self._uniques:
            tally = unique.finish(self._source)
            checks.append(
                tally.check(
                    f"schema:{label}:unique", "each value once",
                    message=f"{tally.rows} rows share their {label} with another row.",
                )
            )  # fmt: skip
        return checks + self._skipped

    def _compare_values(self, name: str, column: str, check: Any) -> None:
        wanted = set(check.statistics["values"])
        missing, more = wanted - self._values[name], self._values[name] - wanted
        if not missing and not more:
            return
        message = f"{len(missing)} of the values are missing, {len(more)} are not among them"
        if column not in self._rule.sensitive:
            listed = sorted(map(str, missing))[:LIMIT], sorted(map(str, more))[:LIMIT]
            message += f" (missing: {', '.join(listed[0])}; more: {', '.join(listed[1])})"
        self._tallies[name][0].fail(f"{message}.")

    def _check(self, name: str, tally: Tally, required: str) -> evidence.Check:
        column = name.split(":", 1)[1].rpartition(":")[0]
        observed: Any = None
        if name.endswith(":dtype") and column in self._source.columns:
            observed = str(self._source.columns[column])
        if name.endswith((":present", ":in_schema", ":ordered")):
            observed = "missing" if name.endswith(":present") else column
            if not tally.failed:
                observed = "present" if name.endswith(":present") else "as asked"
        where = "The rows" if column == "*" else f"The column {column}"
        broken = f": {required} does not hold in"
        if name.endswith(":nullable"):
            broken = " is null in"
        message = f"{where}{broken} {counted(tally.rows)}."
        made = tally.check(name, required, observed=observed, message=message)
        if made["status"] == "fail" and name in self._warned:
            made["status"] = "pass"  # The schema's own word: raise_warning.
        return made


def _pattern(name: str) -> str:
    # Polars reads a name as a pattern of the whole column name.
    return f"^(?:{name.removeprefix('^').removesuffix('$')})$"


def _numbered(checks: Iterable[Any]) -> list[tuple[str, Any]]:
    """Name the checks of a column; the second of a name gets a number."""
    seen: dict[str, int] = {}
    named = []
    for check in checks:
        seen[check.name] = seen.get(check.name, 0) + 1
        number = f"#{seen[check.name]}" if seen[check.name] > 1 else ""
        named.append((f"{check.name}{number}", check))
    return named


def _asked(check: Any) -> str:
    text = str(check.error or check.name)
    return text if len(text) <= 200 else f"{text[:199]}…"  # noqa: PLR2004


def _near(name: str, present: Collection[str], known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, [item for item in present if item not in known], n=1)
    return f" Was it renamed to {near[0]}?" if near else ""


def _cast(values: pl.Series, wanted: Any) -> pl.Series | None:
    """Cast, with a null where the value would change; ``None`` where polars knows no such cast."""
    try:
        cast = values.cast(wanted, strict=False)
        if values.dtype.is_float() and cast.dtype.is_integer():
            same = cast.cast(values.dtype) == values
            cast = pl.select(pl.when(same).then(cast)).to_series().alias(values.name)
    except pl.exceptions.PolarsError:
        return None
    return cast
