"""What a change of ``mlops.yaml`` does to what is asked: a loosened rule must not go unseen.

Every key is compared, so that one that is added to the file later is not forgotten. What is not
known to be looser or stricter is ``different``, and needs approval like a looser one; only the keys
in `FREE` ask nothing of a model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel

from mlops_actions.config import Config, Gate, LargestGap, Slice, parse_duration
from mlops_actions.gate import rules
from mlops_actions.gate.statistics.metrics import UnknownMetric, lookup

Effect = Literal["looser", "stricter", "different"]

FREE = frozenset(
    (
        # How a model comes about. What it must show is asked of the outcome.
        "train.command",
        "train.stage",
        "train.timeout",
        "train.dvc_pull",
        "train.dvc_push",
        # What an image is made of is scanned; how it serves is no check.
        "build.base",
        "build.dockerfile",
        "build.serving",
    )
)
# Whether a larger number asks for less; for the rest a smaller number does.
_LARGER_IS_LOOSER = frozenset(
    (
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
        "max_null_fraction",
        "max_profile_distance",
        "max_loss",
        "max_waiver_days",
        "absolute",
        "relative",
        "p95",
    )
)
_SMALLER_IS_LOOSER = frozenset(
    (
        "min_absolute_change",
        "min_relative_change",
        "min",
        "min_rows",
        "confidence",
        "rows",
        "rounds",
        "requests",
    )
)
# Asking for more of requirements, these ask for less of guardrails: at a higher level, and among
# more slices, a violation is harder to show.
_TWO_SIDED = frozenset(("confidence", "min_slice_size"))
# Durations: whether a longer one asks for less.
_DURATIONS = {"gap": False, "max_age": True, "ready_within": True}
# From the loosest to the strictest.
_FAILS = ("warn", "fail")
_ORDERS: dict[str, tuple[object, ...]] = {
    "bootstrap": ("allow", "refuse"),
    "mode": ("disabled", "dry_run", "enabled"),
    "self_test": ("warn", "strict"),
    "require": (False, True),
    "pull-request": ("smoke", "full"),
    "unattested": ("allow", "refuse"),
    "unseen_categories": ("ignore", "warn", "fail"),
    "unique_id": (False, True),
    "quantile": ("p50", "p95", "p99"),
    "dvc_lock": ("ignore", "report", "fail"),
    "unknown_severity": _FAILS,
    "end_of_life": _FAILS,
    "secrets": _FAILS,
    "no_packages": _FAILS,
    "ignore_unfixed": (True, False),
}
# Lists without an order: whether one item more asks for more.
_SETS = {
    "metrics": True,
    "values": True,
    "severities": True,
    "misconfigurations": True,
    "allowed_imports": False,
}
# That one of these is given at all, or no longer, is neither more nor less.
_EITHER = frozenset(
    (
        "group",
        "weight",
        "time",
        "score",
        "labels",
        "positive_label",
        "command",
        "column",
        "metric",
        "min_slice_size",
    )
)
# What lets more through by being there.
_PERMITS = frozenset(("override", "waivers"))


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
    directions = _Directions(old, new)
    found = [*_models((), old, new, directions), *_implied(old, new, directions)]
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


def _implied(old: Config, new: Config, directions: _Directions) -> Iterator[Change]:
    """Compare what is asked without a key of its own: a margin of 0, the metric that is first."""
    gates = old.gate, new.gate
    for name in gates[0].metrics.keys() & gates[1].metrics.keys():
        for what, guardrail in (
            ("slices", rules.slice_guardrail if _judges_slices(old) else None),
            ("regression", rules.frozen_guardrail if _judges_frozen(old) else None),
        ):
            if guardrail is None:
                continue
            greater = directions.greater(name) is not False
            was, is_ = (guardrail(gate.metrics[name], greater=greater) for gate in gates)
            if was is None or is_ is None:  # Then a key has come or gone.
                continue
            unsaid = gates[0].metrics[name].non_inferiority_margin is None
            if was.rule != is_.rule or (unsaid and is_.bound > was.bound):
                place = ("gate", "metrics", name, f"on {what}")
                yield Change(where=place, effect="different", before=was.text, after=is_.text)
    first, second = (_explained(gate) for gate in gates)
    if first and second and first != second:
        yield Change(
            where=("gate", "explanation", "metric"), effect="different", before=first, after=second
        )
    # All guardrails share Holm's correction: the more there are, the less each of them sees.
    counts = [_guardrails(config) for config in (old, new)]
    if 0 < counts[0] < counts[1]:
        yield Change(
            where=("gate", "guardrails"), effect="different", before=counts[0], after=counts[1]
        )


def _explained(gate: Gate) -> str | None:
    """Name the metric that importance is measured by, which is the first if it has none."""
    return (gate.explanation.metric or next(iter(gate.metrics))) if gate.explanation else None


def _judges_slices(config: Config) -> bool:
    return not all(part.require for part in config.gate.slices)


def _judges_frozen(config: Config) -> bool:
    data = config.data
    return not data.shared_evaluation and data.evaluation_path("regression") is not None


def _guardrails(config: Config) -> int:
    """Count the rules that are guardrails; of slices and groups one for each rule."""
    gate = config.gate
    compared = {
        name for name, policy in gate.metrics.items() if rules.slice_guardrail(policy, greater=True)
    }
    count = sum(policy.max_absolute_change is not None for policy in gate.metrics.values())
    if _judges_frozen(config):
        frozen = (rules.frozen_guardrail(item, greater=True) for item in gate.metrics.values())
        count += count + sum(item is not None for item in frozen)
    for part in gate.slices:
        if not part.require:
            count += len(compared & set(part.metrics or compared))
    for entry in gate.fairness:
        for asked in (entry.demographic_parity_ratio, entry.equalized_odds_difference,
                      *entry.difference.values(), *entry.ratio.values()):  # fmt: skip
            if asked is not None:
                bound = asked.max if isinstance(asked, LargestGap) else asked.min
                count += (bound is not None) + (asked.non_inferiority_margin is not None)
    return count


@dataclasses.dataclass(frozen=True)
class _Directions:
    """Says which way a metric is better."""

    old: Config
    new: Config

    def greater(self, name: str) -> bool | None:
        """Whether more of it is better, or ``None`` where that is not known."""
        try:
            known = lookup(name, self.old.task).greater_is_better
        except UnknownMetric:
            return None
        policy = self.new.gate.metrics.get(name)
        return policy.greater_is_better if known is None and policy else known


def _models(
    where: tuple[str, ...], old: BaseModel, new: BaseModel, directions: _Directions
) -> Iterator[Change]:
    """Compare two sections key by key."""
    for name, field in type(old).model_fields.items():
        place = (*where, field.alias or name)
        if ".".join(place) in FREE or _idle(place, new):
            continue
        yield from _values(place, getattr(old, name), getattr(new, name), directions)


def _idle(where: tuple[str, ...], new: BaseModel) -> bool:
    """Whether a section has no say: that of the smoke run, where a pull request is judged fully."""
    return where == ("smoke",) and isinstance(new, Config) and new.pull_request != "smoke"


def _values(
    where: tuple[str, ...], was: Any, is_: Any, directions: _Directions
) -> Iterator[Change]:
    key = where[-1]
    if was == is_:
        return
    named = _NAMED.get(key)
    if named and isinstance(was, list) and isinstance(is_, list):
        yield from _mapping(where, _by_name(named, was), _by_name(named, is_), directions)
    elif isinstance(was, dict) and isinstance(is_, dict) and key in _MAPPINGS:
        yield from _mapping(where, was, is_, directions)
    elif isinstance(was, BaseModel) and type(was) is type(is_) and key != "override":
        yield from _models(where, was, is_, directions)
    else:
        effect = _effect(where, was, is_, directions)
        yield Change(where=where, effect=effect, before=_dump(was), after=_dump(is_))


def _mapping(
    where: tuple[str, ...],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    directions: _Directions,
) -> Iterator[Change]:
    """Compare what has names: a rule that goes asks for less, and a permission for more."""
    fewer: Effect = "stricter" if where[-1] in _PERMITS else "looser"
    more: Effect = "looser" if where[-1] in _PERMITS else "stricter"
    for name in {**before, **after}:
        place = (*where, name)
        if name not in after:
            yield Change(where=place, effect=fewer, before=_dump(before[name]), after=None)
        elif name not in before:
            yield Change(where=place, effect=more, before=None, after=_dump(after[name]))
        else:
            yield from _values(place, before[name], after[name], directions)


def _title(part: Any) -> str:
    bins = f" in {part.bins} bins" if isinstance(part, Slice) and part.bins else ""
    return " and ".join(part.columns) + bins


def _case(case: Any) -> str:
    return str(case.name)


def _waived(waiver: Any) -> str:
    return " in ".join(part for part in (waiver.id, waiver.package, waiver.target) if part)


def _by_name(named: Callable[[Any], str], items: list[Any]) -> dict[str, Any]:
    """Give a list's items by name; the second of one name has a number."""
    found: dict[str, Any] = {}
    for item in items:
        name = key = named(item)
        number = 1
        while key in found:
            number += 1
            key = f"{name} #{number}"
        found[key] = item
    return found


# Lists whose items are known by a name of their own.
_NAMED: dict[str, Callable[[Any], str]] = {
    "slices": _title,
    "fairness": _title,
    "invariance": _case,
    "directional": _case,
    "minimum_functionality": _case,
    "waivers": _waived,
}
_MAPPINGS = frozenset(("metrics", "difference", "ratio", "max_null_fraction"))


def _effect(where: tuple[str, ...], was: Any, is_: Any, directions: _Directions) -> Effect:
    """Say what another value asks for."""
    key = "max_null_fraction" if "max_null_fraction" in where else where[-1]
    if key in {"threshold", "floor"}:
        return _threshold(where, was, is_, directions)
    if key in _SETS:
        return _lists(key, was, is_)
    if was is None or is_ is None:
        if key in _EITHER:
            return "different"
        return "looser" if (is_ is None) != (key in _PERMITS) else "stricter"
    if key in _ORDERS and was in _ORDERS[key] and is_ in _ORDERS[key]:
        return _compared(_ORDERS[key].index(is_) < _ORDERS[key].index(was))
    if key in _DURATIONS:
        return _compared((parse_duration(is_) > parse_duration(was)) == _DURATIONS[key])
    if key == "expires":  # The day on which a waiver ends.
        return _compared(is_ > was)
    if isinstance(was, (int, float)) and isinstance(is_, (int, float)):
        looser = is_ > was if key in _LARGER_IS_LOOSER else is_ < was
        if key in _LARGER_IS_LOOSER | _SMALLER_IS_LOOSER:
            return "different" if key in _TWO_SIDED and not looser else _compared(looser)
    return "looser" if key == "override" else "different"


def _compared(looser: bool) -> Effect:
    return "looser" if looser else "stricter"


def _threshold(where: tuple[str, ...], was: Any, is_: Any, directions: _Directions) -> Effect:
    if was is None or is_ is None:
        return _compared(is_ is None)
    smoke = directions.new.smoke
    name = smoke.metric if where[0] == "smoke" and smoke else where[-2]
    greater = directions.greater(name)
    return "different" if greater is None else _compared((is_ < was) == greater)


def _lists(key: str, was: list[Any] | None, is_: list[Any] | None) -> Effect:
    if was is None or is_ is None:
        # No list of metrics means all of them, no list of values none.
        return _compared((is_ is None) != (key == "metrics"))
    before, after = set(was), set(is_)
    if before == after:
        return "stricter"
    if after < before:
        return _compared(_SETS[key])
    return _compared(not _SETS[key]) if after > before else "different"


def _dump(value: Any) -> Any:
    """Return plain values: what was set, for a section."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return value


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_short(item) for item in value)}]"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_short(item)}" for key, item in value.items())
    return str(value)
