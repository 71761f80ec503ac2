"""What a change of ``mlops.yaml`` does to the gate: a loosened rule must not go unseen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel

from mlops_actions.config import Config, Gate, MetricPolicy, Slice, parse_duration
from mlops_actions.gate.metrics import UnknownMetric, lookup

Effect = Literal["looser", "stricter", "different"]

# Whether a larger number asks for less; for the rest a smaller number does.
_LARGER_IS_LOOSER = {
    "non_inferiority_margin",
    "max_absolute_change",
    "max_undetectable_loss",
    "max",
    "max_verdicts",
    "min_slice_size",
    "max_change",
    "max_share",
    "tolerance",
    "max_ratio",
    "max_row",
    "max_batch",
    "max_memory",
    "max_model_size",
    "max_load",
    "max_importance_share",
}
_SMALLER_IS_LOOSER = {
    "min_absolute_change",
    "min_relative_change",
    "min",
    "min_rows",
    "confidence",
    "rows",
    "rounds",
}
# From the loosest to the strictest.
_ORDERS: dict[str, tuple[object, ...]] = {
    "bootstrap": ("allow", "refuse"),
    "mode": ("disabled", "dry_run", "enabled"),
    "self_test": ("warn", "strict"),
    "require": (False, True),
    "pull_request": ("smoke", "full"),
    "unattested": ("allow", "refuse"),
    "unseen_categories": ("ignore", "warn", "fail"),
    "unique_id": (False, True),
    "quantile": ("p50", "p95", "p99"),
}
# Sections of the gate that may be missing.
_SECTIONS = ("behaviour", "latency", "explanation")
# What decides besides the gate's own section. A change of these is neither looser nor stricter by
# itself, but the same words may mean something else after it.
_MEANING = (
    "task",
    "target",
    "labels",
    "positive_label",
    "id",
    "group",
    "weight",
    "time",
    "score",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that is asked differently.

    Attributes:
        where: the key in ``mlops.yaml``.
        effect: ``different`` where it cannot be said whether it asks for more or less.
        before: the value before, or ``None`` where there was none.
        after: the value now.

    """

    where: tuple[str, ...]
    effect: Effect
    before: Any
    after: Any

    @property
    def needs_approval(self) -> bool:
        """Whether someone else should look at it: all that is not plainly stricter."""
        return self.effect != "stricter"

    @property
    def text(self) -> str:
        """The change as one line."""
        name = ".".join(self.where)
        if self.after is None:
            return f"{name}: dropped (was {_short(self.before)})"
        if self.before is None:
            return f"{name}: added ({_short(self.after)})"
        return f"{name}: {_short(self.before)} -> {_short(self.after)} ({self.effect})"


def policy_changes(old: Config, new: Config) -> list[Change]:
    """Compare two configurations in all that a verdict depends on, ``old`` being in force.

    Whether a threshold is loosened depends on the metric's direction; where that is not known, or
    the metric changed its meaning, the change is ``different``, which needs approval, too.
    """
    found = list(_gate(old, new))
    for key in _MEANING:
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            found.append(Change(where=(key,), effect="different", before=before, after=after))
    found += _data(old, new)
    found += _plain(("pull-request",), "pull_request", old.pull_request, new.pull_request)
    found += _plain(("unattested",), "unattested", old.unattested, new.unattested)
    return sorted(found, key=lambda change: change.where)


def shrunk(old: Mapping[str, int], new: Mapping[str, int]) -> list[Change]:
    """Compare the evaluation sets' rows, by name: fewer rows, or no set at all, ask for less."""
    return [
        Change(
            where=("evaluation", name, "rows"),
            effect="looser",
            before=count,
            after=new.get(name),
        )
        for name, count in old.items()
        if new.get(name, 0) < count
    ]


def _gate(old: Config, new: Config) -> Iterator[Change]:
    sections = {"metrics", "slices", "fairness", *_SECTIONS, "override"}
    for key in Gate.model_fields:
        if key not in sections:
            yield from _plain(("gate", key), key, getattr(old.gate, key), getattr(new.gate, key))
    for key in _SECTIONS:
        yield from _section(("gate", key), getattr(old.gate, key), getattr(new.gate, key))
    if new.gate.override != old.gate.override:
        effect: Effect = "stricter" if new.gate.override is None else "looser"
        before, after = _dump(old.gate.override), _dump(new.gate.override)
        yield Change(where=("gate", "override"), effect=effect, before=before, after=after)
    yield from _mapping(
        ("gate", "metrics"),
        {name: (name, policy, old) for name, policy in old.gate.metrics.items()},
        {name: (name, policy, new) for name, policy in new.gate.metrics.items()},
        _metric,
    )
    for section in ("slices", "fairness"):
        before, after = (
            {_title(part): part for part in getattr(config.gate, section)} for config in (old, new)
        )
        yield from _mapping(("gate", section), before, after, _part)


def _title(part: Any) -> str:
    bins = f" in {part.bins} bins" if isinstance(part, Slice) and part.bins else ""
    return " and ".join(part.columns) + bins


def _mapping(
    where: tuple[str, ...], before: Mapping[str, Any], after: Mapping[str, Any], compare: Any
) -> Iterator[Change]:
    for name in {**before, **after}:
        place = (*where, name)
        if name not in after:
            yield Change(where=place, effect="looser", before=_dump(before[name]), after=None)
        elif name not in before:
            yield Change(where=place, effect="stricter", before=None, after=_dump(after[name]))
        else:
            yield from compare(place, before[name], after[name])


def _metric(
    where: tuple[str, ...],
    before: tuple[str, MetricPolicy, Config],
    after: tuple[str, MetricPolicy, Config],
) -> Iterator[Change]:
    (name, old, config), (_, new, _) = before, after
    for key in MetricPolicy.model_fields:
        was, is_ = getattr(old, key), getattr(new, key)
        if was == is_:
            continue
        if key == "threshold":
            yield _threshold((*where, key), name, was, is_, config, new)
        else:
            yield from _plain((*where, key), key, was, is_)


def _threshold(
    where: tuple[str, ...],
    name: str,
    was: float | None,
    is_: float | None,
    config: Config,
    policy: MetricPolicy,
) -> Change:
    effect: Effect = "different"
    if is_ is None or was is None:
        effect = "looser" if is_ is None else "stricter"
    else:
        greater = policy.greater_is_better
        try:
            known = lookup(name, config.task).greater_is_better
        except UnknownMetric:
            known = None
        greater = greater if known is None else known
        if greater is not None:
            effect = "looser" if (is_ < was) == greater else "stricter"
    return Change(where=where, effect=effect, before=was, after=is_)


def _part(where: tuple[str, ...], old: Any, new: Any) -> Iterator[Change]:
    """Compare an entry of slices or fairness."""
    for key in type(old).model_fields:
        was, is_ = getattr(old, key), getattr(new, key)
        place = (*where, key)
        if was == is_ or key == "columns":
            continue
        if key in {"metrics", "values"}:
            # No list of metrics means all of them, no list of values none.
            everything = key == "metrics"
            yield Change(where=place, effect=_lists(was, is_, everything), before=was, after=is_)
        elif key in {"difference", "ratio"}:
            yield from _mapping(place, was, is_, _fields)
        elif isinstance(was, BaseModel) and isinstance(is_, BaseModel):
            yield from _fields(place, was, is_)
        else:
            yield from _plain(place, key, _dump(was), _dump(is_))


def _fields(where: tuple[str, ...], old: BaseModel, new: BaseModel) -> Iterator[Change]:
    for key in type(old).model_fields:
        yield from _plain((*where, key), key, getattr(old, key), getattr(new, key))


def _section(
    where: tuple[str, ...], old: BaseModel | None, new: BaseModel | None
) -> Iterator[Change]:
    """Compare behaviour, latency or explanation, of which nothing need be asked."""
    if old is None or new is None:
        yield from _plain(where, where[-1], _dump(old), _dump(new))
        return
    for key in type(old).model_fields:
        was, is_ = getattr(old, key), getattr(new, key)
        if isinstance(was, list):
            before, after = ({case.name: case for case in cases} for cases in (was, is_))
            yield from _mapping((*where, key), before, after, _case)
        else:
            yield from _plain((*where, key), key, was, is_)


def _case(where: tuple[str, ...], old: BaseModel, new: BaseModel) -> Iterator[Change]:
    """Compare a case of behaviour; other rows or values are another question."""
    for key in type(old).model_fields:
        was, is_ = getattr(old, key), getattr(new, key)
        if isinstance(was, (list, dict)):
            if was != is_:
                yield Change(where=(*where, key), effect="different", before=was, after=is_)
        else:
            yield from _plain((*where, key), key, was, is_)


def _lists(was: list[Any] | None, is_: list[Any] | None, everything: bool) -> Effect:
    if was is None or is_ is None:
        return "stricter" if (is_ is None) == everything else "looser"
    if set(was) == set(is_):
        return "stricter"
    if set(is_) < set(was):
        return "looser"
    return "stricter" if set(is_) > set(was) else "different"


def _plain(where: tuple[str, ...], key: str, was: Any, is_: Any) -> Iterator[Change]:
    """Compare a single value."""
    if was == is_:
        return
    effect: Effect = "different"
    if key in _ORDERS and was in _ORDERS[key] and is_ in _ORDERS[key]:
        order = _ORDERS[key]
        effect = "looser" if order.index(is_) < order.index(was) else "stricter"
    elif is_ is None or was is None:
        # A rule that goes asks for less; a slice's own least size replaces another number.
        effect = "different" if key == "min_slice_size" else "looser" if is_ is None else "stricter"
    elif key in _LARGER_IS_LOOSER:
        effect = "looser" if is_ > was else "stricter"
    elif key in _SMALLER_IS_LOOSER:
        effect = "looser" if is_ < was else "stricter"
    yield Change(where=where, effect=effect, before=_dump(was), after=_dump(is_))


def _data(old: Config, new: Config) -> Iterator[Change]:
    for key in ("command", "schema_", "training", "evaluation"):
        was, is_ = getattr(old.data, key), getattr(new.data, key)
        if was != is_:
            name = key.rstrip("_")
            yield Change(
                where=("data", name), effect="different", before=_dump(was), after=_dump(is_)
            )
    if old.data.gap != new.data.gap:
        shorter = parse_duration(new.data.gap) < parse_duration(old.data.gap)
        yield Change(
            where=("data", "gap"),
            effect="looser" if shorter else "stricter",
            before=old.data.gap,
            after=new.data.gap,
        )
    for key in type(old.data.checks).model_fields:
        was, is_ = getattr(old.data.checks, key), getattr(new.data.checks, key)
        yield from _plain(("data", "checks", key), key, _dump(was), _dump(is_))


def _dump(value: Any) -> Any:
    """Return plain values: what was set, for a section."""
    if isinstance(value, tuple):
        value = value[1]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return value


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_short(item) for item in value)}]"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_short(item)}" for key, item in value.items())
    return str(value)
