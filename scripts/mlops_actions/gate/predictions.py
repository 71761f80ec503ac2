"""Predictions in, paired rows out; whatever does not fit is a failing check, never a crash.

Rows are paired by id. What the model's own job hands over is only believed for what a model says:
its predictions. Target, group, weight, time and slice columns come from the evaluation file, where
one is given.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from mlops_actions import evidence
from mlops_actions.config import Config, Label, parse_duration
from mlops_actions.gate.statistics.scored import PROBABILITY_TOLERANCE, Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Side = Literal["candidate", "champion", "anchor"]
Role = Literal["id", "target", "group", "weight", "time"]
ROLES: tuple[Role, ...] = ("id", "target", "group", "weight", "time")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetInput:
    """The files of one evaluation set.

    Attributes:
        candidate: predictions of the model that is judged.
        champion: predictions of the model it must not fall behind, if there is one.
        evaluation: the file that target, group, weight, time and slice columns are read from,
            under the names in ``mlops.yaml``; else they stand in the candidate's predictions.
        anchor: predictions of the best earlier model, for the rule against slow loss.
        cutoffs: newest times in the training data of the models; rows up to the latest of them
            plus ``data.gap`` are left out. A time without a zone is in UTC.
        digest: what the evaluation set is called in the evidence; by default computed here.

    """

    candidate: Path
    champion: Path | None = None
    evaluation: Path | None = None
    anchor: Path | None = None
    cutoffs: tuple[datetime.datetime, ...] = ()
    digest: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PairedSet:
    """One evaluation set with every model's answers on the same rows in the same order.

    Attributes:
        name: of the set.
        rows: the columns that divide the rows (slices, fairness), n rows.
        candidate: its answers, or ``None`` when a check failed.
        champion: its answers, or ``None`` when there is none or a check failed.
        anchor: the same of the best earlier model.
        identical: whether candidate and champion say the same of every row.
        left_out: rows up to the training cut-off, which are not among the n.
        digest: sha256 of the evaluation set's keys and targets.
        checks: one for each thing that was wrong; a passing one when nothing was.

    """

    name: str
    rows: pl.DataFrame
    candidate: Scored | None
    champion: Scored | None
    anchor: Scored | None
    identical: bool
    left_out: int
    digest: str
    checks: list[evidence.Check]

    def __len__(self) -> int:
        """Return the number of rows that are judged."""
        return self.rows.height

    @property
    def groups(self) -> int | None:
        """The number of groups among the rows, or ``None`` when rows are independent."""
        group = None if self.candidate is None else self.candidate.group
        return None if group is None else len(np.unique(group))


class Unfit(Exception):
    """Something about the files that no verdict can be built on."""

    def __init__(
        self, what: str, message: str, observed: object = None, required: object = None
    ) -> None:
        super().__init__(message)
        self.what = what
        self.message = message
        self.observed = observed
        self.required = required

    def check(self, name: str, **more: object) -> evidence.Check:
        """Make the failing check."""
        return evidence.check(
            f"{name}: {self.what}", "fail", self.observed, self.required, self.message, **more
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Needs:
    """The columns that the policy's metrics read."""

    probability: bool
    quantiles: frozenset[float]
    losses: frozenset[str]


@dataclasses.dataclass(frozen=True, eq=False)
class _Answers:
    """One model's columns, in the order of the set's rows."""

    prediction: Array
    probability: Array | None
    quantiles: Mapping[float, Array]
    losses: Mapping[str, Array]

    def same(self, other: _Answers) -> bool:
        """Whether both say the same of every row."""
        if (self.probability is None) != (other.probability is None):
            return False
        pairs = [(self.prediction, other.prediction)]
        if self.probability is not None and other.probability is not None:
            pairs.append((self.probability, other.probability))
        for mine, theirs in ((self.quantiles, other.quantiles), (self.losses, other.losses)):
            if set(mine) != set(theirs):
                return False
            pairs += [(mine[key], theirs[key]) for key in mine]  # type: ignore[index]
        return all(np.array_equal(left, right) for left, right in pairs)


def read(
    name: str,
    given: SetInput,
    config: Config,
    *,
    columns: Sequence[str],
    probability: bool = False,
    quantiles: Sequence[float] = (),
    losses: Sequence[str] = (),
) -> PairedSet:
    """Read and pair the files of one evaluation set.

    Args:
        name: of the set, for messages.
        given: its files.
        config: says what the columns are called and which labels exist.
        columns: those that divide the rows, by their own names.
        probability: whether a metric reads probabilities, so that they must be there.
        quantiles: levels of ``quantile_<q>`` that a metric reads.
        losses: names of ``loss_<name>`` that a metric reads.

    """
    needs = _Needs(
        probability=probability, quantiles=frozenset(quantiles), losses=frozenset(losses)
    )
    problems: list[evidence.Check] = []
    try:
        keys = _read_keys(given, config, columns)
        target = _target(keys["target"], config)
        weight, group = _weight(keys), _group(keys)
        kept = _window(keys, given.cutoffs, config)
    except Unfit as unfit:
        side = "evaluation" if given.evaluation else "candidate"
        return _unread(name, given, unfit.check(name, set=name, side=side))

    answers: dict[Side, _Answers] = {}
    paths: dict[Side, Path | None] = {
        "candidate": given.candidate,
        "champion": given.champion,
        "anchor": given.anchor,
    }
    for side, path in paths.items():
        try:
            if path is not None:
                reader = _Reader(side=side, path=path, given=given, config=config, needs=needs)
                answers[side] = reader.read(keys)
        except Unfit as unfit:
            problems.append(unfit.check(name, set=name, side=side))

    def scored(side: Side) -> Scored | None:
        if side not in answers:
            return None
        said = answers[side]
        return Scored(
            target=_pick(target, kept),
            prediction=_pick(said.prediction, kept),
            probability=None if said.probability is None else _pick(said.probability, kept),
            labels=tuple(config.labels or ()),
            positive=_positive(config),
            quantiles={level: _pick(values, kept) for level, values in said.quantiles.items()},
            losses={loss: _pick(values, kept) for loss, values in said.losses.items()},
            weight=None if weight is None else _pick(weight, kept),
            group=None if group is None else _pick(group, kept),
        )

    # Keyed by an empty name, which no column of a policy has: a set without slices has rows, too.
    rows = keys.select(
        pl.col("id").alias(""), *(pl.col(f"column {column}").alias(column) for column in columns)
    )
    rows = rows if kept is None else rows.filter(pl.Series(kept))
    candidate, champion = answers.get("candidate"), answers.get("champion")
    if not problems:
        problems.append(evidence.check(f"{name}: predictions", "pass", rows.height, None, set=name))
    return PairedSet(
        name=name,
        rows=rows,
        candidate=scored("candidate"),
        champion=scored("champion"),
        anchor=scored("anchor"),
        identical=candidate is not None and champion is not None and candidate.same(champion),
        left_out=0 if kept is None else int(len(kept) - np.count_nonzero(kept)),
        digest=given.digest or _digest(keys),
        checks=problems,
    )


def _unread(name: str, given: SetInput, problem: evidence.Check) -> PairedSet:
    return PairedSet(
        name=name,
        rows=pl.DataFrame(),
        candidate=None,
        champion=None,
        anchor=None,
        identical=False,
        left_out=0,
        digest=given.digest or "",
        checks=[problem],
    )


def _positive(config: Config) -> int:
    """Return the place of the positive class; any, where there is none."""
    if not config.labels or config.positive is None:
        return 1
    return config.labels.index(config.positive)


def _pick(values: Array, kept: Array | None) -> Array:
    return values if kept is None else values[kept]


# --- Files -------------------------------------------------------------------------------------


# A damaged file can make Polars panic, which is no Exception.
_UNREADABLE = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def _schema(path: Path, what: str) -> dict[str, pl.DataType]:
    if not path.is_file():
        raise Unfit(what, f"{path} is missing.")
    try:
        with path.open("rb") as file:
            return dict(pl.read_parquet_schema(file))
    except _UNREADABLE as problem:
        raise _unreadable(path, what, problem) from None


def _load(path: Path, columns: Sequence[str], what: str) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(
            path, columns=list(dict.fromkeys(columns)), glob=False, hive_partitioning=False
        )
    except _UNREADABLE as problem:
        raise _unreadable(path, what, problem) from None
    return frame.with_columns(
        pl.col(name).cast(pl.String)
        for name, kind in frame.schema.items()
        if isinstance(kind, (pl.Categorical, pl.Enum))
    )


def _unreadable(path: Path, what: str, problem: BaseException) -> Unfit:
    reason = str(problem).partition("\n")[0]
    return Unfit(what, f"{path} cannot be read as Parquet: {reason}.")


def _read_keys(given: SetInput, config: Config, columns: Sequence[str]) -> pl.DataFrame:
    """Read id, target, group, weight and time, and the dividing columns as ``column <name>``."""
    path = given.evaluation or given.candidate
    what = "evaluation" if given.evaluation else "candidate"
    schema = _schema(path, what)
    own = {role: getattr(config, role) for role in ROLES}
    wanted: dict[str, str] = {}
    for role, name in own.items():
        if name is None:
            continue
        # The file interface has fixed names; an evaluation file has those of mlops.yaml.
        options = [name] if given.evaluation else [role, name]
        wanted[role] = _first(options, schema, what)
    literal = {} if given.evaluation else {name: role for role, name in own.items() if name}
    for column in columns:
        options = [column, *([literal[column]] if column in literal else [])]
        wanted[f"column {column}"] = _first(options, schema, what)
    frame = _load(path, list(wanted.values()), what)
    frame = frame.select(pl.col(name).alias(role) for role, name in wanted.items())
    for name, kind in frame.schema.items():
        if kind.is_nested() or isinstance(kind, (pl.Object, pl.Binary)):
            raise Unfit(f"{what} columns", f"The column {wanted[name]} is {kind}.", str(kind))
    if not frame.height:
        raise Unfit(what, f"{path} has no rows.", 0)
    _check_ids(frame["id"], what, config)
    return frame


def _first(options: Sequence[str], schema: Mapping[str, Any], what: str) -> str:
    for option in options:
        if option in schema:
            return option
    raise Unfit(f"{what} columns", f"The {what} has no column {options[0]}.", None, options[0])


# Whole numbers that do not all fit into 64 bits with a sign.
_WIDEST = frozenset((pl.UInt64, pl.Int128))


# --- Keys --------------------------------------------------------------------------------------


def _check_ids(ids: pl.Series, what: str, config: Config) -> None:
    if ids.dtype.is_float():
        raise Unfit(
            f"{what} ids",
            f"The ids of the {what} are {ids.dtype}; write them as integers or text "
            "(a missing id turns integers into floats).",
            str(ids.dtype),
        )
    if ids.dtype.is_nested():
        raise Unfit(f"{what} ids", f"The ids of the {what} are {ids.dtype}.", str(ids.dtype))
    if missing := ids.null_count():
        raise Unfit(f"{what} ids", f"{missing} rows of the {what} have no id.", missing, 0)
    if ids.n_unique() != len(ids):
        twice = ids.filter(ids.is_duplicated())
        raise Unfit(
            f"{what} ids",
            f"{twice.n_unique()} ids of the {what} occur more than once{_example(twice, config)}.",
            twice.n_unique(),
            0,
        )


def _example(ids: pl.Series, config: Config) -> str:
    return "" if config.id in config.sensitive else f", such as {ids[0]!r}"


def _target(target: pl.Series, config: Config) -> Array:
    if config.labels:
        return codes(target, config.labels, "target", sensitive=config.target in config.sensitive)
    return _numbers(target, "target")


def _weight(keys: pl.DataFrame) -> Array | None:
    if "weight" not in keys.columns:
        return None
    weight = _numbers(keys["weight"], "weight")
    if weight.min() < 0:
        negative = int(np.count_nonzero(weight < 0))
        raise Unfit("weight", f"{negative} weights are negative.", negative, 0)
    if not weight.any():
        raise Unfit("weight", "All weights are zero.")
    return weight


def _group(keys: pl.DataFrame) -> Array | None:
    if "group" not in keys.columns:
        return None
    group = keys["group"]
    if group.dtype.is_float():
        group = group.fill_nan(None)
    if missing := group.null_count():
        raise Unfit("group", f"{missing} rows have no group.", missing, 0)
    places = group.unique().sort().to_frame("group").with_row_index("place")
    joined = group.to_frame("group").join(places, on="group", how="left", maintain_order="left")
    return joined["place"].cast(pl.Int64).to_numpy()


def _window(
    keys: pl.DataFrame, cutoffs: Sequence[datetime.datetime], config: Config
) -> Array | None:
    """Say which rows lie after every cut-off and the gap; ``None`` stands for all."""
    if not cutoffs:
        return None
    if "time" not in keys.columns:
        raise Unfit("time", "The training data has a cut-off, but mlops.yaml names no time column.")
    time = _instants(keys["time"], "time")
    latest = max(
        cutoff.replace(tzinfo=datetime.UTC) if cutoff.tzinfo is None else cutoff
        for cutoff in cutoffs
    )
    try:
        start = latest.astimezone(datetime.UTC) + parse_duration(config.data.gap)
    except OverflowError:
        message = f"The training cut-off {latest} and data.gap lie outside the calendar."
        raise Unfit("time", message) from None
    kept: Array = (time > start).to_numpy()
    return kept


def _instants(time: pl.Series, name: str) -> pl.Series:
    kind = time.dtype
    if isinstance(kind, pl.String):
        read = time.str.to_datetime(strict=False, time_zone="UTC", time_unit="us")
    elif isinstance(kind, pl.Date):
        read = time.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    elif isinstance(kind, pl.Datetime):
        micro = time.cast(pl.Datetime("us", kind.time_zone))
        read = (
            micro.dt.replace_time_zone("UTC")
            if kind.time_zone is None
            else micro.dt.convert_time_zone("UTC")
        )
    else:
        raise Unfit(name, f"{name} is {kind}, not a date or a time.", str(kind), "Datetime")
    if missing := read.null_count():
        raise Unfit(name, f"{missing} rows have no {name} that can be read.", missing, 0)
    return read


def _digest(keys: pl.DataFrame) -> str:
    """Digest what the set consists of, whatever the order of its rows."""
    known = [name for name in ("id", "target", "group", "weight", "time") if name in keys.columns]
    text = keys.select(known).sort("id").write_csv()
    return hashlib.sha256(text.encode()).hexdigest()


# --- Answers -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads what one model said."""

    side: Side
    path: Path
    given: SetInput
    config: Config
    needs: _Needs

    def read(self, keys: pl.DataFrame) -> _Answers:
        """Return the answers in the order of the set's rows, or raise `Unfit`."""
        side, config = self.side, self.config
        schema = _schema(self.path, side)
        columns = [_first([name], schema, side) for name in ("id", "prediction")]
        probabilities = _probability_columns(side, schema, config, self.needs)
        quantiles = {level: _quantile_column(side, level, schema) for level in self.needs.quantiles}
        losses = {loss: _first([f"loss_{loss}"], schema, side) for loss in self.needs.losses}
        columns += [*probabilities, *quantiles.values(), *losses.values()]
        # Without an evaluation file the set is made of the candidate's own target.
        is_source = self.given.evaluation is None and side == "candidate"
        target: str | None = "target" if "target" in schema else None
        if self.given.evaluation is None:
            target = _first(["target", config.target], schema, side)
        compares = target is not None and not is_source
        frame = _load(self.path, [*columns, *([target] if target and compares else [])], side)
        if not frame.height:
            raise Unfit(side, f"{self.path} has no rows.", 0)
        _check_ids(frame["id"], side, config)
        frame = _in_order(frame, keys["id"], side, config)

        if config.labels:
            prediction = codes(frame["prediction"], config.labels, "prediction", side=side)
        else:
            prediction = _numbers(frame["prediction"], "prediction", side)
        said = _Answers(
            prediction,
            _probabilities(frame, probabilities, side, config),
            {level: _numbers(frame[name], name, side) for level, name in quantiles.items()},
            {loss: _numbers(frame[name], name, side) for loss, name in losses.items()},
        )
        if target and compares:
            _agree(frame[target], keys["target"], side, config)
        return said


def _in_order(frame: pl.DataFrame, ids: pl.Series, side: Side, config: Config) -> pl.DataFrame:
    """Bring the rows into the order of ``ids``, which must be the same ids."""
    mine = frame["id"]
    integers = mine.dtype.is_integer() and ids.dtype.is_integer()
    if not integers and mine.dtype != ids.dtype:
        raise Unfit(
            f"{side} ids",
            f"The ids of the {side} are {mine.dtype}, those of the evaluation set {ids.dtype}.",
            str(mine.dtype),
            str(ids.dtype),
        )
    if integers:
        wide = pl.Int64 if _WIDEST.isdisjoint((mine.dtype, ids.dtype)) else pl.Int128
        frame, ids = frame.with_columns(pl.col("id").cast(wide)), ids.cast(wide)
        mine = frame["id"]
    if mine.equals(ids):
        return frame
    missing, extra = (
        left.to_frame("id").join(right.to_frame("id"), on="id", how="anti")["id"]
        for left, right in ((ids, mine), (mine, ids))
    )
    if len(missing) or len(extra):
        parts = [
            f"{len(found)} ids {kind}{_example(found.sort(), config)}"
            for found, kind in (
                (missing, "of the evaluation set have no prediction"),
                (extra, "are not in the evaluation set"),
            )
            if len(found)
        ]
        raise Unfit(
            f"{side} ids",
            f"The {side} is not for these rows: {'; '.join(parts)}.",
            len(mine),
            len(ids),
        )
    return ids.to_frame("id").join(frame, on="id", how="left", maintain_order="left")


def _agree(mine: pl.Series, target: pl.Series, side: Side, config: Config) -> None:
    if config.labels:
        hidden = config.target in config.sensitive
        ours, theirs = (
            codes(values, config.labels, "target", side=side, sensitive=hidden)
            for values in (mine, target)
        )
    else:
        ours, theirs = _numbers(mine, "target", side), _numbers(target, "target")
    if different := int(np.count_nonzero(ours != theirs)):
        raise Unfit(
            f"{side} target",
            f"{different} targets of the {side} disagree with those of the evaluation set.",
            different,
            0,
        )


def _numbers(values: pl.Series, name: str, side: Side | None = None) -> Array:
    """Return finite numbers (n,), or refuse and say how many are not."""
    what = f"{side} {name}" if side else name
    if not (values.dtype.is_numeric() or isinstance(values.dtype, (pl.Boolean, pl.Decimal))):
        raise Unfit(what, f"{name} is {values.dtype}, not a number.", str(values.dtype))
    numbers: Array = values.cast(pl.Float64).to_numpy()  # A null becomes NaN.
    finite = np.isfinite(numbers)
    if bad := int(len(numbers) - np.count_nonzero(finite)):
        raise Unfit(
            what,
            f"{bad} of {len(numbers)} values of {name} are missing, NaN or infinite.",
            bad,
            0,
        )
    return numbers


def codes(
    values: pl.Series,
    labels: Sequence[Label],
    name: str,
    *,
    side: Side | None = None,
    sensitive: bool = False,
) -> Array:
    """Return each value's position in ``labels`` (n,), or refuse what is none of them."""
    what = f"{side} {name}" if side else name
    if missing := values.null_count():
        raise Unfit(what, f"{missing} of {len(values)} values of {name} are missing.", missing, 0)
    kind = values.dtype
    if kind.is_float():
        numbers = _numbers(values, name, side)
        whole = numbers.astype(np.int64)
        if not np.array_equal(whole, numbers):
            raise Unfit(what, f"{name} has fractions; expected one of the labels.")
        values = pl.Series(values.name, whole)
    elif isinstance(kind, pl.Boolean):
        values = values.cast(pl.Int64)
    elif kind.is_integer():
        values = values.cast(pl.Int128 if kind in _WIDEST else pl.Int64)
    elif not isinstance(kind, pl.String):
        raise Unfit(what, f"{name} is {kind}; labels are integers, text or booleans.", str(kind))
    is_text = isinstance(values.dtype, pl.String)
    if any(isinstance(label, str) != is_text for label in labels):
        form = "text" if is_text else "numbers"
        raise Unfit(
            what,
            f"{name} is {kind}, but the labels in mlops.yaml are not all {form}: {list(labels)}.",
            str(kind),
        )
    old = [label if isinstance(label, str) else int(label) for label in labels]
    codes = values.replace_strict(old, list(range(len(old))), default=None, return_dtype=pl.Int64)
    if strange := codes.null_count():
        example = "" if sensitive else f", such as {values.filter(codes.is_null())[0]!r}"
        raise Unfit(
            what,
            f"{strange} of {len(values)} values of {name} are none of the labels "
            f"{list(labels)}{example}.",
            strange,
            0,
        )
    return codes.to_numpy()


def probability_names(label: Label) -> list[str]:
    """Return what the column of a label's probability may be called."""
    names = [f"probability_{label}"]
    return [*names, names[0].lower()] if isinstance(label, bool) else names


def _probability_columns(
    side: Side, schema: Mapping[str, Any], config: Config, needs: _Needs
) -> list[str]:
    """Name the probability columns, in the order of the labels; one for ``probability``."""
    if not config.labels:
        return []
    found = [name for name in schema if name.startswith("probability_")]
    single = "probability" in schema
    what = f"{side} columns"
    if single and found:
        raise Unfit(what, f"The {side} has probability and {found[0]}: only one form can be right.")
    if single:
        if len(config.labels) != 2:  # noqa: PLR2004
            raise Unfit(
                what,
                "A single column probability needs exactly two labels; expected "
                + ", ".join(f"probability_{label}" for label in config.labels)
                + ".",
            )
        return ["probability"]
    if not found:
        if needs.probability:
            name = f"probability_{config.labels[0]}"
            raise Unfit(what, f"The {side} has no column {name}, which a metric needs.", None, name)
        return []
    columns = [_first(probability_names(label), schema, side) for label in config.labels]
    if strange := sorted(set(found) - set(columns)):
        raise Unfit(
            what,
            f"The {side} has {strange[0]}, which is none of the labels {config.labels}.",
            strange[0],
        )
    return columns


def _probabilities(
    frame: pl.DataFrame, columns: Sequence[str], side: Side, config: Config
) -> Array | None:
    if not columns or not config.labels:
        return None
    given = [_numbers(frame[name], name, side) for name in columns]
    for name, values in zip(columns, given, strict=True):
        outside = int(np.count_nonzero((values < 0) | (values > 1)))
        if outside:
            raise Unfit(
                f"{side} {name}", f"{outside} values of {name} lie outside [0, 1].", outside, 0
            )
    if list(columns) == ["probability"]:
        positive = _positive(config)
        given = [given[0] if place == positive else 1 - given[0] for place in (0, 1)]
    stacked = np.stack(given, axis=1)
    total = sum(given[1:], start=given[0])
    wrong = int(np.count_nonzero(np.abs(total - 1) > PROBABILITY_TOLERANCE))
    if wrong:
        raise Unfit(
            f"{side} probabilities",
            f"The probabilities of {wrong} of {len(stacked)} rows do not sum to 1 "
            f"(within {PROBABILITY_TOLERANCE:g}).",
            wrong,
            0,
        )
    return stacked


def _quantile_column(side: Side, level: float, schema: Mapping[str, Any]) -> str:
    for name in schema:
        if name.startswith("quantile_"):
            try:
                given = float(name.removeprefix("quantile_"))
            except ValueError:
                continue
            if abs(given - level) < 1e-9:  # noqa: PLR2004
                return name
    return _first([f"quantile_{level:g}"], schema, side)
