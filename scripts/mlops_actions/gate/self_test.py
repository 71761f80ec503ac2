"""Before a verdict is believed: the policy in force has to reject what is plainly bad.

Known-bad candidates are made from the candidate's own answers and judged by the same rules.

- Nonsense (permuted, constant, not a number) must not be blessed: else the verdict is rejected.
- Each declared rule must notice the damage that was made for it: else the verdict is inconclusive,
  since that rule says nothing on this set.
- Further kinds of damage are tried, and those that no rule would notice are listed.

The idea is mutation testing (DeMillo, Lipton & Sayward 1978, Computer 11:34), of a policy instead
of a test suite.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlops_actions.config import Slice
from mlops_actions.evidence import Check, check
from mlops_actions.gate import damage, fairness, rows, rules, slices
from mlops_actions.gate.assessment import REGRESSION, Policy
from mlops_actions.gate.predictions import PairedSet
from mlops_actions.gate.rows import Chosen, Row, Terms
from mlops_actions.gate.statistics.scored import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Rows = NDArray[np.int64]

MOST_ROWS = 20_000
"""Rows that mutants are judged on at first. Fewer rows show less, so what would count against the
policy is judged again on all rows."""

FEWEST_GROUPS = 100
"""Groups of rows that are kept at least: a few would leave nothing to compare."""

DRAWS = 1_000

Kind = Literal["nonsense", "rule", "damage"]
Make = Callable[[Scored, PairedSet], Scored]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutant:
    """A known-bad candidate.

    Attributes:
        name: what was done to the answers.
        kind: what it means when it is not noticed.
        makes: each makes such answers from the candidate's on a set. What is bad by one metric may
            be good by another, so that one of them has to be noticed.
        noticed: whether the rules that count notice a set with these answers.
        on: the set that it is made of and judged on.
        within: the only rows (positions) of it, or ``None`` for all.

    """

    name: str
    kind: Kind
    makes: Sequence[Make]
    noticed: Callable[[PairedSet], bool]
    on: PairedSet
    within: Rows | None = None

    def is_noticed(self, seed: int) -> bool:
        """Whether it is noticed."""
        scope = self.on if self.within is None else _restrict(self.on, self.within)
        few = _sample(scope, seed)
        if self._try(few):
            return True
        # A warning about some damage is not worth another pass over millions of rows.
        return few is not scope and self.kind != "damage" and self._try(scope)

    def _try(self, one: PairedSet) -> bool:
        candidate = one.candidate
        return candidate is not None and any(
            self.noticed(dataclasses.replace(one, candidate=make(candidate, one)))
            for make in self.makes
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tested:
    """What the self-test says.

    Attributes:
        checks: nonsense that would be blessed, rules that notice nothing.
        unnoticed: kinds of damage that no rule would notice.
        mutants: each mutant, its kind and whether it was noticed.

    """

    checks: list[Check]
    unnoticed: list[str]
    mutants: list[dict[str, Any]]


def run(policy: Policy, paired: Sequence[PairedSet], terms: Terms, *, guardrails: int) -> Tested:
    """Judge mutants of the first set that decides, and of the frozen one.

    Args:
        policy: the one in force.
        paired: the sets.
        terms: of the verdict.
        guardrails: how many are judged together in the verdict, for the correction.

    """
    deciding = [one for one in paired if one.name != REGRESSION and one.candidate is not None]
    if not deciding:
        return Tested(checks=[], unnoticed=[], mutants=[])
    one = deciding[0]
    bench = _Bench(
        policy=policy,
        terms=dataclasses.replace(terms, resamples=min(terms.resamples, DRAWS)),
        guardrails=max(guardrails, 1),
    )
    checks: list[Check] = []
    unnoticed: list[str] = []
    listed: list[dict[str, Any]] = []
    frozen = [other for other in paired if other.name == REGRESSION]
    tried = mutants(bench, one)
    for other in frozen:
        tried += _of_metrics(bench, other, frozen=True)
    for mutant in tried:
        found = mutant.is_noticed(terms.seed)
        listed.append({"name": mutant.name, "kind": mutant.kind, "noticed": found})
        if found:
            continue
        name = f"self-test: {mutant.name}"
        if mutant.kind == "nonsense":
            message = (
                f"The policy in force would bless {mutant.name}. Add a threshold that such answers "
                "miss."
            )
            checks.append(check(name, "fail", "blessed", "not blessed", message))
        elif mutant.kind == "rule":
            message = (
                f"The rule made for it would not notice {mutant.name}: on this set it says nothing."
            )
            checks.append(check(name, "inconclusive", "unnoticed", "noticed", message))
        else:
            unnoticed.append(mutant.name)
    if not bench.chosen:
        unnoticed.append("anything at all: your own losses cannot be made for made-up answers")
    strict = policy.config.gate.self_test == "strict"
    for name in unnoticed if strict else ():
        message = f"No rule would notice {name}, and gate.self_test is strict."
        checks.append(check(f"self-test: {name}", "fail", "unnoticed", "noticed", message))
    if not checks:
        checks.append(check("self-test", "pass", len(listed), len(listed)))
    return Tested(checks=checks, unnoticed=unnoticed, mutants=listed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Bench:
    """Judges mutants by the parts of a policy, so that a slice's mutant costs one slice."""

    policy: Policy
    terms: Terms
    guardrails: int

    @property
    def chosen(self) -> list[Chosen]:
        """The metrics; what the user computes per row cannot be had for made-up answers."""
        return [item for item in self.policy.chosen if "loss" not in item.metric.needs]

    def by_whole(self, one: PairedSet) -> bool:
        """Whether a rule on the whole set notices."""
        found = rows.whole(self.chosen, one, frozen=False)
        return self._by_rows(found) or not any(row.shows_something for row in found)

    def by_any(self, one: PairedSet) -> bool:
        """Whether any rule at all notices; the cheap ones are asked first."""
        if self.by_whole(one):
            return True
        config, gate = self.policy.config, self.policy.config.gate
        if not (gate.slices or gate.fairness):
            return False
        if self._by_rows(rows.sliced(config, self.chosen, one).rows):
            return True
        return any(self.by_gap(one, place) for place in range(len(gate.fairness)))

    def by_rule(self, one: PairedSet, like: Row, asked: rules.Asked) -> bool:
        """Whether this rule of a metric notices by itself."""
        alone = Row(paired=one, chosen=like.chosen, against=like.against)
        (alone.guarded if asked in like.guarded else alone.required).append(asked)
        return self._by_rows([alone])

    def by_part(self, one: PairedSet, policy: Slice, part: slices.Part) -> bool:
        """Whether this slice's own rules notice; the set is the slice."""
        everyone = dataclasses.replace(part, rows=np.arange(len(one)))
        return self._by_rows(rows.of_part(self.chosen, one, policy, everyone))

    def by_gap(
        self, one: PairedSet, place: int, wanted: Sequence[fairness.Wanted] | None = None
    ) -> bool:
        """Whether an entry of fairness notices, by all of its rules or by those given."""
        asked = [
            (self.policy.fairness[place] if wanted is None else wanted) if number == place else ()
            for number in range(len(self.policy.fairness))
        ]
        found = fairness.gaps(self.policy.config, asked, one)
        p_values = [
            guard.p_value for gap in found for guard in gap.measure(self.policy.guarded(self.terms))
        ]
        return self._shown(p_values) or any(gap.checks for gap in found)

    def _by_rows(self, found: Sequence[Row]) -> bool:
        rows.measure(found, self.terms)
        p_values = [guard.p_value for row in found for guard in row.answer(self.terms)]
        return self._shown(p_values) or any(row.status in _NOTICED for row in found)

    def _shown(self, p_values: Sequence[float]) -> bool:
        # Holm's first step, which is enough: the other guardrails of the verdict stay as they are.
        alpha = 1 - self.policy.guarded(self.terms).confidence
        return any(p_value * self.guardrails <= alpha for p_value in p_values)


_NOTICED = ("fail", "inconclusive")


def _sample(one: PairedSet, seed: int) -> PairedSet:
    """Return at most `MOST_ROWS` rows of a set; whole groups, where there are groups."""
    if len(one) <= MOST_ROWS or one.candidate is None:
        return one
    random = np.random.default_rng(seed)
    group = one.candidate.group
    if group is None:
        return _restrict(one, np.sort(random.choice(len(one), MOST_ROWS, replace=False)))
    sizes = np.bincount(group)
    order = random.permutation(np.flatnonzero(sizes))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), MOST_ROWS)) + 1
    return _restrict(one, np.flatnonzero(np.isin(group, order[: max(enough, FEWEST_GROUPS)])))


def _restrict(one: PairedSet, kept: Rows) -> PairedSet:
    def pick(scored: Scored | None) -> Scored | None:
        return None if scored is None else _pick(scored, kept)

    return dataclasses.replace(
        one,
        rows=one.rows[kept],
        candidate=pick(one.candidate),
        champion=pick(one.champion),
        anchor=pick(one.anchor),
    )


def _pick(scored: Scored, kept: Rows) -> Scored:
    return Scored(
        target=scored.target[kept],
        prediction=None if scored.prediction is None else scored.prediction[kept],
        probability=None if scored.probability is None else scored.probability[kept],
        labels=scored.labels,
        positive=scored.positive,
        quantiles={level: values[kept] for level, values in scored.quantiles.items()},
        losses={name: values[kept] for name, values in scored.losses.items()},
        weight=None if scored.weight is None else scored.weight[kept],
        group=None if scored.group is None else scored.group[kept],
    )


# --- The mutants -------------------------------------------------------------------------------


def mutants(bench: _Bench, one: PairedSet) -> list[Mutant]:
    """Return the mutants that fit the policy and the set."""
    seed = bench.terms.seed
    found: list[Mutant] = []

    def add(name: str, kind: Kind, make: Callable[[Scored], Scored]) -> None:
        found.append(
            Mutant(
                name=name,
                kind=kind,
                makes=[lambda scored, _: make(scored)],
                noticed=bench.by_any,
                on=one,
            )
        )

    add("answers permuted among all rows", "nonsense", lambda scored: _permuted(scored, seed))
    add("the same answer for every row", "nonsense", damage.constant)
    add("answers that are not a number", "nonsense", damage.missing)
    found += _of_metrics(bench, one, frozen=False)
    if one.champion is not None:
        if all(item.policy.max_absolute_change is None for item in bench.chosen):
            add("a copy of the target", "damage", damage.copied)
        found += _of_slices(bench, one)
    found += _of_fairness(bench, one)
    if one.candidate is not None and one.candidate.labels:
        if one.candidate.probability is not None:
            add("overconfident probabilities", "damage", damage.sharpened)
            add("labels that contradict the probabilities", "damage", damage.relabelled)
    else:
        add("a constant shift of all answers", "damage", damage.shifted)
        add("rare large errors", "damage", lambda scored: damage.with_outliers(scored, seed))
    return found


def _permuted(scored: Scored, seed: int) -> Scored:
    return damage.permuted(scored, np.arange(len(scored)), seed)


def _everywhere(spoil: Callable[[Scored, Rows], Scored]) -> Make:
    return lambda scored, _: spoil(scored, np.arange(len(scored)))


def _of_metrics(bench: _Bench, one: PairedSet, *, frozen: bool) -> list[Mutant]:
    """Spoil all answers, which each rule of each metric must see by itself."""
    found = []
    for row in rows.whole(bench.policy.chosen, one, frozen=frozen):
        other = one.anchor if row.against == "anchor" else one.champion
        for asked in (*row.required, *row.guarded):
            if asked.rule in rules.CHANGES and other is None:
                continue
            rule = "anchor" if row.against == "anchor" else asked.rule
            what, makes = "spoiled answers", _spoilers(row.chosen)
            if asked.rule == "max_absolute_change":
                if "loss" in row.chosen.metric.needs:
                    continue  # A copied target has no loss of the user's.
                what, makes = "a copy of the target", [lambda scored, _: damage.copied(scored)]
            where = f" on the set {one.name}" if frozen else ""
            found.append(
                Mutant(
                    name=f"{what} ({rule} of {row.chosen.name}{where})",
                    kind="rule",
                    makes=makes,
                    noticed=_alone(bench, row, asked),
                    on=one,
                )
            )
    return found


def _spoilers(chosen: Chosen) -> Sequence[Make]:
    if "loss" in chosen.metric.needs:
        return [lambda scored, _: damage.dearer(scored, greater=chosen.greater)]
    return [_everywhere(spoil) for spoil in (damage.turned, damage.worst, damage.granted)]


def _alone(bench: _Bench, like: Row, asked: rules.Asked) -> Callable[[PairedSet], bool]:
    return lambda one: bench.by_rule(one, like, asked)


def _large(bench: _Bench, one: PairedSet, policy: Slice) -> list[slices.Part]:
    """Return the parts that are judged, from the smallest to the largest."""
    config = bench.policy.config
    if slices.count(one.rows, policy) > slices.MOST_PARTS:
        return []
    least = policy.min_slice_size or config.gate.min_slice_size
    parts = slices.divide(one.rows, policy, sensitive=config.sensitive)
    return sorted(
        (part for part in parts if len(part.rows) >= least), key=lambda part: len(part.rows)
    )


def _of_slices(bench: _Bench, one: PairedSet) -> list[Mutant]:
    """Destroy the largest part of each slice, which its rule must see, and the smallest."""
    found = []
    for policy in bench.policy.config.gate.slices:
        parts = _large(bench, one, policy)
        for part, kind in zip(parts[-1:] + parts[:1], ("rule", "damage"), strict=False):
            if kind == "damage" and len(parts) == 1:
                continue
            found.append(
                _destroyed(bench, one, policy, part, "rule" if kind == "rule" else "damage")
            )
    return found


def _destroyed(
    bench: _Bench, one: PairedSet, policy: Slice, part: slices.Part, kind: Kind
) -> Mutant:
    return Mutant(
        name=f"answers permuted in {part.name} ({len(part.rows)} rows)",
        kind=kind,
        makes=[lambda scored, _: _permuted(scored, bench.terms.seed)],
        noticed=lambda few: bench.by_part(few, policy, part),
        on=one,
        within=part.rows,
    )


def _of_fairness(bench: _Bench, one: PairedSet) -> list[Mutant]:
    """Give everyone in the largest group the same bad answer, which each rule must see."""
    found = []
    for place, entry in enumerate(bench.policy.config.gate.fairness):
        policy = slices.as_slice(entry.columns, entry.min_slice_size)
        parts = _large(bench, one, policy)
        if len(parts) < 2:  # noqa: PLR2004 - nobody to lie apart from.
            continue
        for wanted in bench.policy.fairness[place]:
            if wanted.bound is not None:
                alone = dataclasses.replace(wanted, margin=None)
                found.append(_denied(bench, one, place, alone, policy, parts[-1]))
            if wanted.margin is not None and one.champion is not None:
                alone = dataclasses.replace(wanted, bound=None)
                found.append(_denied(bench, one, place, alone, policy, parts[-1]))
    return found


def _denied(
    bench: _Bench,
    one: PairedSet,
    place: int,
    wanted: fairness.Wanted,
    policy: Slice,
    part: slices.Part,
) -> Mutant:
    def within(spoil: Callable[[Scored, Rows], Scored]) -> Make:
        def make(scored: Scored, few: PairedSet) -> Scored:
            cut = slices.divide(few.rows, policy, sensitive=bench.policy.config.sensitive)
            these = next((other.rows for other in cut if other.values == part.values), None)
            # A sample of few groups may have none of them: the whole set is tried next.
            return scored if these is None else spoil(scored, these)

        return make

    rule = wanted.name + (", against the champion" if wanted.bound is None else "")
    return Mutant(
        name=f"one answer for all of {part.name} ({len(part.rows)} rows; {rule})",
        kind="rule",
        makes=[within(spoil) for spoil in (damage.worst, damage.granted, damage.turned)],
        noticed=lambda few: bench.by_gap(few, place, [wanted]),
        on=one,
    )
