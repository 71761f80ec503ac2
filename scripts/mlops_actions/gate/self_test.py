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
from mlops_actions.gate import fairness, rows, slices
from mlops_actions.gate.assessment import REGRESSION, Policy
from mlops_actions.gate.predictions import PairedSet
from mlops_actions.gate.rows import Chosen, Row, Terms
from mlops_actions.gate.scored import Scored

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutant:
    """A known-bad candidate.

    Attributes:
        name: what was done to the answers.
        kind: what it means when it is not noticed.
        make: makes its answers from the candidate's on a set.
        noticed: whether the rules that count notice a set with these answers.
        within: the only rows (positions) that it is made of and judged on, or ``None`` for all.

    """

    name: str
    kind: Kind
    make: Callable[[Scored, PairedSet], Scored]
    noticed: Callable[[PairedSet], bool]
    within: Rows | None = None

    def is_noticed(self, one: PairedSet, seed: int) -> bool:
        """Whether it is noticed on this set."""
        scope = one if self.within is None else _restrict(one, self.within)
        few = _sample(scope, seed)
        if self._try(few):
            return True
        # A warning about some damage is not worth another pass over millions of rows.
        return few is not scope and self.kind != "damage" and self._try(scope)

    def _try(self, one: PairedSet) -> bool:
        if one.candidate is None:
            return False
        return self.noticed(dataclasses.replace(one, candidate=self.make(one.candidate, one)))


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
    """Judge mutants of the first set that decides.

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
    for mutant in mutants(bench, one):
        found = mutant.is_noticed(one, terms.seed)
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

    def by_limit(self, one: PairedSet) -> bool:
        """Whether a limit on suspicious improvement notices."""
        found = rows.whole(self.chosen, one, frozen=False)
        for row in found:
            row.required = []
        return self._by_rows([row for row in found if row.guarded])

    def by_part(self, one: PairedSet, policy: Slice, part: slices.Part) -> bool:
        """Whether this slice's own rules notice; the set is the slice."""
        everyone = dataclasses.replace(part, rows=np.arange(len(one)))
        return self._by_rows(rows.of_part(self.chosen, one, policy, everyone))

    def by_gap(self, one: PairedSet, place: int) -> bool:
        """Whether an entry of fairness notices."""
        found = [
            gap
            for number, gap in fairness.numbered_gaps(self.policy.config, self.policy.fairness, one)
            if number == place
        ]
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
    found = [
        Mutant(
            name="answers permuted among all rows",
            kind="nonsense",
            make=lambda scored, _: permuted(scored, np.arange(len(scored)), seed),
            noticed=bench.by_any,
        ),
        Mutant(
            name="the same answer for every row",
            kind="nonsense",
            make=lambda scored, _: constant(scored),
            noticed=bench.by_any,
        ),
        Mutant(
            name="answers that are not a number",
            kind="nonsense",
            make=lambda scored, _: missing(scored),
            noticed=bench.by_any,
        ),
    ]
    if one.champion is not None:
        limited = any(item.policy.max_absolute_change is not None for item in bench.chosen)
        found.append(
            Mutant(
                name="a copy of the target",
                kind="rule" if limited else "damage",
                make=lambda scored, _: copied(scored),
                noticed=bench.by_limit if limited else bench.by_any,
            )
        )
        found += _of_slices(bench, one)
    found += _of_fairness(bench, one)

    def damage(name: str, make: Callable[[Scored], Scored]) -> None:
        found.append(
            Mutant(
                name=name,
                kind="damage",
                make=lambda scored, _: make(scored),
                noticed=bench.by_any,
            )
        )

    if one.candidate is not None and one.candidate.labels:
        if one.candidate.probability is not None:
            damage("overconfident probabilities", sharpened)
            damage("labels that contradict the probabilities", relabelled)
    else:
        damage("a constant shift of all answers", shifted)
        damage("rare large errors", lambda scored: with_outliers(scored, seed))
    return found


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
            found.append(_destroyed(bench, policy, part, "rule" if kind == "rule" else "damage"))
    return found


def _destroyed(bench: _Bench, policy: Slice, part: slices.Part, kind: Kind) -> Mutant:
    return Mutant(
        name=f"answers permuted in {part.name} ({len(part.rows)} rows)",
        kind=kind,
        make=lambda scored, _: permuted(scored, np.arange(len(scored)), bench.terms.seed),
        noticed=lambda one: bench.by_part(one, policy, part),
        within=part.rows,
    )


def _of_fairness(bench: _Bench, one: PairedSet) -> list[Mutant]:
    """Give everyone in the largest group the same bad answer, which fairness must see."""
    found = []
    for place, entry in enumerate(bench.policy.config.gate.fairness):
        policy = slices.as_slice(entry.columns, entry.min_slice_size)
        parts = _large(bench, one, policy)
        if len(parts) > 1:
            found.append(_denied(bench, place, policy, parts[-1]))
    return found


def _denied(bench: _Bench, place: int, policy: Slice, part: slices.Part) -> Mutant:
    def make(scored: Scored, one: PairedSet) -> Scored:
        cut = slices.divide(one.rows, policy, sensitive=bench.policy.config.sensitive)
        return worst(scored, next(other.rows for other in cut if other.values == part.values))

    return Mutant(
        name=f"one answer for all of {part.name} ({len(part.rows)} rows)",
        kind="rule",
        make=make,
        noticed=lambda one: bench.by_gap(one, place),
    )


def permuted(scored: Scored, rows: Rows, seed: int) -> Scored:
    """Exchange whole answers among these rows."""
    order = np.arange(len(scored))
    order[rows] = np.random.default_rng(seed).permutation(rows)
    return dataclasses.replace(
        scored,
        prediction=None if scored.prediction is None else scored.prediction[order],
        probability=None if scored.probability is None else scored.probability[order],
        quantiles={level: values[order] for level, values in scored.quantiles.items()},
        losses={name: values[order] for name, values in scored.losses.items()},
    )


def constant(scored: Scored) -> Scored:
    """Answer every row with what is best without looking: the commonest class, or the mean."""
    count = len(scored)
    if not scored.labels:
        return dataclasses.replace(
            scored,
            prediction=np.full(count, scored.target.mean()),
            quantiles={
                level: np.full(count, np.quantile(scored.target, level))
                for level in scored.quantiles
            },
        )
    shares = np.bincount(scored.target, minlength=len(scored.labels)) / count
    return dataclasses.replace(
        scored,
        prediction=np.full(count, int(shares.argmax())),
        probability=None if scored.probability is None else np.tile(shares, (count, 1)),
    )


def missing(scored: Scored) -> Scored:
    """Answer one row with nothing."""

    def spoil(values: Array) -> Array:
        spoiled = values.astype(np.float64)
        spoiled[0] = np.nan
        return spoiled

    return dataclasses.replace(
        scored,
        prediction=None if scored.prediction is None else spoil(scored.prediction),
        probability=None if scored.probability is None else spoil(scored.probability),
        quantiles={level: spoil(values) for level, values in scored.quantiles.items()},
        losses={name: spoil(values) for name, values in scored.losses.items()},
    )


def copied(scored: Scored) -> Scored:
    """Answer every row with the truth."""
    probability = None
    if scored.probability is not None:
        probability = np.eye(len(scored.labels))[scored.target]
    return dataclasses.replace(
        scored,
        prediction=scored.target.copy(),
        probability=probability,
        quantiles={level: scored.target.copy() for level in scored.quantiles},
    )


def worst(scored: Scored, rows: Rows) -> Scored:
    """Deny these rows the positive class, or miss their truth by twice its spread."""
    prediction = None if scored.prediction is None else scored.prediction.copy()
    if not scored.labels:
        if prediction is not None:
            prediction[rows] += 2 * scored.target.std()
        return dataclasses.replace(scored, prediction=prediction)
    other = next(place for place in range(len(scored.labels)) if place != scored.positive)
    if prediction is not None:
        prediction[rows] = other
    probability = None if scored.probability is None else scored.probability.copy()
    if probability is not None:
        probability[rows] = np.eye(len(scored.labels))[other]
    return dataclasses.replace(scored, prediction=prediction, probability=probability)


def sharpened(scored: Scored) -> Scored:
    """Cube the odds: the same order and labels, far too sure."""
    if scored.probability is None:
        return scored
    cubed = np.clip(scored.probability, 1e-12, 1) ** 3
    return dataclasses.replace(scored, probability=cubed / cubed.sum(axis=1, keepdims=True))


def relabelled(scored: Scored) -> Scored:
    """Keep the probabilities and answer with the next class."""
    if scored.prediction is None:
        return scored
    return dataclasses.replace(
        scored, prediction=(scored.prediction + 1) % max(len(scored.labels), 1)
    )


def shifted(scored: Scored) -> Scored:
    """Add half the target's spread to every number."""
    if scored.prediction is None:
        return scored
    return dataclasses.replace(scored, prediction=scored.prediction + scored.target.std() / 2)


def with_outliers(scored: Scored, seed: int) -> Scored:
    """Miss one row in a hundred by ten times the target's spread."""
    if scored.prediction is None:
        return scored
    prediction = scored.prediction.copy()
    rows = np.random.default_rng(seed).random(len(scored)) < 0.01  # noqa: PLR2004
    prediction[rows] += 10 * scored.target.std()
    return dataclasses.replace(scored, prediction=prediction)
