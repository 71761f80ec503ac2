"""What is checked of a file besides its schema: size, key, nulls, target, weights, freshness."""

from __future__ import annotations

import datetime
from typing import Any

import polars as pl

from mlops_actions import evidence
from mlops_actions.config import Project, did_you_mean, parse_duration
from mlops_actions.validate.examples import Shown, Tally, counted
from mlops_actions.validate.keys import Uniqueness
from mlops_actions.validate.profile import Profile
from mlops_actions.validate.source import Batch, Source

_MANY = 1000  # Different target values that are kept apart.


class ContentChecker:
    """Checks one :class:`Source` as its batches go by."""

    def __init__(
        self, project: Project, source: Source, rule: Shown, baseline: Profile | None
    ) -> None:
        self._project = project
        self._config = project.config
        self._source = source
        self._rule = rule
        self._baseline = baseline
        self._nulls = dict.fromkeys(source.columns, 0)
        self._tallies: dict[str, tuple[Tally, str]] = {}
        self._classes: dict[Any, int] = {}
        self._unseen: dict[str, tuple[Tally, pl.Series]] = {}
        config = self._config
        self._unique = (
            Uniqueness([config.id], rule, nulls=False)
            if config.data.checks.unique_id and config.id in source.columns
            else None
        )
        self._name_checks()

    def _name_checks(self) -> None:
        config, present = self._config, self._source.columns
        for named in config.key_columns:
            tally = self._tally(f"column:{named}", "present")
            if named not in present:
                self._miss(tally, named, self._project.column_line(named))
        for column in (config.id, config.target, config.group, config.time):
            if column in present:
                self._tally(f"nulls:{column}", "no nulls")
        if config.time in present and config.time is not None:
            tally = self._tally(f"time:{config.time}", "a date or an ISO 8601 date-time")
            if as_time(self._source, config.time) is None:
                tally.fail(f"The column {config.time} has the type {present[config.time]}.")
        if config.weight in present:
            self._tally(f"weight:{config.weight}", "finite and not negative")
        if config.target in present:
            if config.task == "classification":
                self._tally(f"target:{config.target}:labels", f"one of {config.labels}")
            else:
                tally = self._tally(f"target:{config.target}:number", "a finite number")
                if not present[config.target].is_numeric():
                    tally.fail(
                        f"The target {config.target} has the type {present[config.target]}; "
                        "a regression needs a number."
                    )
        if self._baseline is not None and config.data.checks.unseen_categories != "ignore":
            for name, known in self._baseline.complete_categories().items():
                if name in present and name not in config.sensitive:
                    self._unseen[name] = (Tally(), pl.Series(known, dtype=pl.String))

    def _miss(self, tally: Tally, column: str, line: int | None) -> None:
        """Fail at the line of mlops.yaml that names a column which the data has not."""
        hint = did_you_mean(column, self._source.columns)
        tally.fail(f"The column {column}, which mlops.yaml names, is missing.{hint}")
        tally.file, tally.line = self._project.file.name, line

    def _tally(self, name: str, required: str) -> Tally:
        return self._tallies.setdefault(name, (Tally(), required))[0]

    def add(self, batch: Batch) -> None:
        """Check the rows of one batch."""
        config, frame = self._config, batch.frame
        for column in frame.columns:
            self._nulls[column] += int(_is_null(frame[column]).sum())
        for key in dict.fromkeys((config.id, config.target, config.group, config.time)):
            if key is not None and key in self._source.columns:
                bad = _is_null(frame[key])
                self._tallies[f"nulls:{key}"][0].add(bad, batch, self._rule, key)
        if config.weight is not None and config.weight in self._source.columns:
            self._add_weights(batch, config.weight)
        if config.target in self._source.columns:
            self._add_target(batch)
        if config.time is not None and self._source.columns.get(config.time) == pl.String:
            values = frame[config.time]
            parsed = frame.select(_read_times(pl.col(config.time))).to_series()
            bad = values.is_not_null() & parsed.is_null()
            self._tallies[f"time:{config.time}"][0].add(bad, batch, self._rule, config.time)
        if self._unique is not None:
            self._unique.add(batch)
        for column, (tally, known) in self._unseen.items():
            values = frame[column].cast(pl.String)
            bad = values.is_not_null() & ~values.is_in(known.implode()).fill_null(value=True)
            tally.add(bad, batch, self._rule, column)

    def _add_weights(self, batch: Batch, column: str) -> None:
        tally = self._tallies[f"weight:{column}"][0]
        values = batch.frame[column]
        if not values.dtype.is_numeric():
            tally.fail(f"The weight {column} has the type {values.dtype}, not a number.", batch)
            return
        values = values.cast(pl.Float64)
        good = (values.is_finite() & (values >= 0)).fill_null(value=False)
        tally.add(~good, batch, self._rule, column)

    def _add_target(self, batch: Batch) -> None:
        config = self._config
        values = batch.frame[config.target]
        if config.task == "regression":
            if values.dtype.is_float():
                bad = values.is_infinite().fill_null(value=False)  # NaN counts as a null.
                name = f"target:{config.target}:number"
                self._tallies[name][0].add(bad, batch, self._rule, config.target)
            return
        found = values.filter(~_is_null(values)).unique()
        allowed = {str(label) for label in config.labels or []}
        wrong = []
        for value in found.to_list():
            if str(value) in allowed or value in (config.labels or []):
                self._classes[value] = self._classes.get(value, 0) + 1
            else:
                wrong.append(value)
        if wrong:
            bad = values.is_in(pl.Series(wrong, dtype=values.dtype).implode())
            name = f"target:{config.target}:labels"
            self._tallies[name][0].add(bad.fill_null(value=False), batch, self._rule, config.target)

    def finish(self, *, training: bool, newest: datetime.datetime | None) -> list[evidence.Check]:
        """Give every check; ``newest`` is the time of the newest training row."""
        config, rows = self._config, self._source.rows
        wanted = config.data.checks.min_rows
        few = Tally()
        if rows < wanted:
            few.fail(f"There are {rows} rows; data.checks.min_rows asks for {wanted}.")
        checks = [few.check("min_rows", wanted, observed=rows)]
        if self._unique is not None:
            tally = self._unique.finish(self._source)
            checks.append(
                tally.check(
                    "unique_id", "each id once",
                    message=f"{tally.rows} rows share their {config.id} with another row.",
                )
            )  # fmt: skip
        for name, (tally, required) in self._tallies.items():
            kind, _, column = name.partition(":")
            checks.append(
                tally.check(
                    name,
                    required,
                    observed=("missing" if tally.failed else "present")
                    if kind == "column"
                    else None,
                    message=f"The column {column} is null in {counted(tally.rows)}."
                    if kind == "nulls"
                    else f"The {kind} {config.target if kind == 'target' else column} is not "
                    f"{required} in {counted(tally.rows)}.",
                )
            )
        checks += self._class_checks()
        checks += self._fraction_checks()
        if training and config.data.checks.freshness is not None:
            checks.append(self._freshness(newest))
        return checks + self._unseen_checks()

    def _class_checks(self) -> list[evidence.Check]:
        config = self._config
        if config.task != "classification" or config.target not in self._source.columns:
            return []
        tally = Tally()
        if len(self._classes) < 2:  # noqa: PLR2004
            hidden = config.target in config.sensitive
            which = "" if hidden else "".join(f" ({value})" for value in self._classes)
            found = f"only one class{which}" if self._classes else "no class"
            tally.fail(f"The target {config.target} has {found}; nothing can be learnt from it.")
        name = f"target:{config.target}:classes"
        return [tally.check(name, "at least 2 classes", observed=len(self._classes))]

    def _fraction_checks(self) -> list[evidence.Check]:
        checks = []
        for column, largest in self._config.data.checks.max_null_fraction.items():
            tally = Tally()
            observed: Any = "missing"
            if column not in self._source.columns:
                line = self._project.line("data", "checks", "max_null_fraction", column)
                self._miss(tally, column, line)
            elif self._source.rows:
                observed = self._nulls[column] / self._source.rows
                if observed > largest:
                    tally.fail(
                        f"The column {column} has {observed:.2%} nulls; {largest:.2%} are allowed."
                    )
                    tally.rows = self._nulls[column]
            checks.append(tally.check(f"null_fraction:{column}", largest, observed=observed))
        return checks

    def _freshness(self, newest: datetime.datetime | None) -> evidence.Check:
        asked = self._config.data.checks.freshness
        if asked is None:
            raise AssertionError
        column = asked.column or self._config.time
        tally = Tally()
        observed = None
        if column is None:
            raise self._project.error(
                "freshness needs a time column: set time, or freshness.column.",
                "data", "checks", "freshness",
            )  # fmt: skip
        if column not in self._source.columns:
            line = self._project.line("data", "checks", "freshness", "column")
            self._miss(tally, column, line if asked.column else self._project.line("time"))
        elif newest is None:
            tally.fail(f"The column {column} has no time that can be read.")
        else:
            age = datetime.datetime.now(datetime.UTC) - _aware(newest)
            observed = newest.isoformat()
            if age > parse_duration(asked.max_age):
                tally.fail(
                    f"The newest row is of {observed}, {age.days} days old; "
                    f"data.checks.freshness allows {asked.max_age}."
                )
        return tally.check(f"freshness:{column}", asked.max_age, observed=observed)

    def _unseen_checks(self) -> list[evidence.Check]:
        checks = []
        for column, (tally, _) in self._unseen.items():
            made = tally.check(
                f"unseen_categories:{column}",
                "known to the baseline's training data",
                message=f"The column {column} has {counted(tally.rows)} with a category that the "
                "baseline's training data never had.",
            )
            if self._config.data.checks.unseen_categories == "warn":
                made["status"] = "pass"
            checks.append(made)
        return checks


def _is_null(values: pl.Series) -> pl.Series:
    if values.dtype.is_float():
        return values.is_null() | values.is_nan().fill_null(value=False)
    return values.is_null()


def _aware(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment


def time_range(
    source: Source, column: str | None
) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    """Give the first and the last time of a column; ``None`` where it cannot be read as times.

    Dates count as their midnight. Text is read as ISO 8601.
    """
    if column is None or column not in source.columns:
        return None, None
    values = as_time(source, column)
    if values is None:
        return None, None
    found = source.scan().select(first=values.min(), last=values.max()).collect(engine="streaming")
    return found["first"][0], found["last"][0]


def as_time(source: Source, column: str) -> pl.Expr | None:
    """Give a column as date-times of microseconds, or ``None`` when its type is no time."""
    kind = source.columns[column]
    values = pl.col(column)
    if isinstance(kind, pl.Datetime):
        return values.dt.cast_time_unit("us")
    if kind == pl.Date:
        return values.cast(pl.Datetime("us"))
    if kind == pl.String:
        return _read_times(values)
    return None


def _read_times(text: pl.Expr) -> pl.Expr:
    """Read ISO 8601, with null for what is none; times with an offset become UTC."""
    # With explicit formats: polars guesses one from the first value, and raises when it cannot.
    plain = [
        text.str.to_datetime(form, time_unit="us", strict=False)
        for form in ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M")
    ]
    offset = [
        text.str.to_datetime(
            form, time_unit="us", time_zone="UTC", strict=False
        ).dt.replace_time_zone(None)
        for form in ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")
    ]
    days = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    return pl.coalesce(*plain, *offset, days)
