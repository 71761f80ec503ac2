"""How far groups lie apart, with fairlearn's definitions, and whether that is too far.

The largest of several differences is biased upward: with equal groups it is never zero. So no
interval of the largest difference is read; instead every pair of groups is compared, and a
violation is shown when one pair's difference lies beyond the bound at a level corrected for all
pairs.
The intervals shown beside it are simultaneous over the pairs (`multiplicity.pairwise`).

Definitions: Agarwal et al. 2018 (ICML) and Weerts et al. 2023 (JMLR 24:257), as in fairlearn's
``demographic_parity_ratio``, ``equalized_odds_difference`` and ``MetricFrame``.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import ndtr

from mlops_actions.config import Config, Fairness, LargestGap, Project, SmallestRatio
from mlops_actions.evidence import Check, Status, check
from mlops_actions.gate import slices
from mlops_actions.gate.rows import Guardrail, Terms
from mlops_actions.gate.statistics import multiplicity
from mlops_actions.gate.statistics.comparison import Estimate, Undefined, compare
from mlops_actions.gate.statistics.intervals import student_score
from mlops_actions.gate.statistics.metrics import Metric, UnknownMetric, lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlops_actions.gate.predictions import PairedSet
    from mlops_actions.gate.statistics.scored import Scored

    Floats = NDArray[np.float64]

Kind = Literal["difference", "ratio"]

MOST_GROUPS = 100
"""Groups whose pairs are all compared."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """One rule of fairness.

    Attributes:
        name: such as ``demographic_parity_ratio`` or ``difference of recall``.
        kind: what two groups are compared by.
        metrics: the numbers whose gap it is; the worst of them counts.
        bound: largest difference or smallest ratio, or ``None``.
        margin: how much worse than the champion's, or ``None``.
        most: the largest gap that may go unnoticed, or ``None``; see `Tested.noticed`.

    """

    name: str
    kind: Kind
    metrics: tuple[Metric, ...]
    bound: float | None
    margin: float | None
    most: float | None = None

    @property
    def text(self) -> str:
        """What is asked, in words."""
        parts = []
        if self.bound is not None:
            parts.append(f"at {'most' if self.kind == 'difference' else 'least'} {self.bound:g}")
        if self.margin is not None:
            parts.append(f"not worse than the champion's by more than {self.margin:g}")
        return "; ".join(parts)


def wanted(project: Project) -> list[list[Wanted]]:
    """Return the rules of each entry of ``gate.fairness``; refuse a metric that does not fit."""
    config = project.config
    classes = len(config.labels) if config.labels else None

    def find(name: str, *where: str | int) -> Metric:
        try:
            metric = lookup(
                name, config.task, classes=classes, positive=config.positive is not None
            )
        except UnknownMetric as problem:
            raise project.error(str(problem), "gate", "fairness", *where) from None
        if "ratio" in where and metric.negated:
            raise project.error(
                f"A ratio of {name} says nothing, since it is negative; "
                f"name {name.removeprefix('neg_')}.",
                "gate",
                "fairness",
                *where,
            )
        return metric

    found = []
    for place, policy in enumerate(config.gate.fairness):
        rules: list[Wanted] = []
        for name, names in (
            ("demographic_parity_ratio", ("selection_rate",)),
            ("equalized_odds_difference", ("true_positive_rate", "false_positive_rate")),
        ):
            asked = getattr(policy, name)
            if asked is not None:
                metrics = tuple(find(part, place, name) for part in names)
                rules.append(_wanted(name, metrics, asked))
        for kind in ("difference", "ratio"):
            for name, asked in getattr(policy, kind).items():
                metric = find(name, place, kind, name)
                rules.append(_wanted(f"{kind} of {name}", (metric,), asked))
        found.append(rules)
    return found


def _wanted(name: str, metrics: tuple[Metric, ...], asked: LargestGap | SmallestRatio) -> Wanted:
    is_gap = isinstance(asked, LargestGap)
    return Wanted(
        name=name,
        kind="difference" if is_gap else "ratio",
        metrics=metrics,
        bound=asked.max if isinstance(asked, LargestGap) else asked.min,
        margin=asked.non_inferiority_margin,
        most=asked.max_undetectable_loss,
    )


@dataclasses.dataclass(kw_only=True)
class Gap:
    """One rule of fairness on one set, with its answer."""

    paired: PairedSet
    title: str
    wanted: Wanted
    parts: list[slices.Part]
    small: list[slices.Part]
    checks: list[Check] = dataclasses.field(default_factory=list)
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its check."""
        return f"{self.paired.name}: {self.wanted.name}, {self.title}"

    def add(
        self,
        status: Status,
        observed: object,
        required: object,
        message: str | None,
        *,
        versus: bool = False,
        **more: Any,
    ) -> None:
        """Keep an answer; ``versus`` the champion, or the bound."""
        self.checks.append(
            check(
                f"{self.name}, against the champion" if versus else self.name,
                status,
                observed,
                required,
                message,
                set=self.paired.name,
                rule="fairness",
                guardrail=True,
                **more,
            )
        )

    def measure(self, terms: Terms) -> list[Guardrail]:
        """Compare every pair of groups; return the guardrails, to be settled with all others."""
        if not 2 <= len(self.parts) <= MOST_GROUPS:  # noqa: PLR2004
            message = (
                f"{self.name}: {len(self.parts)} groups have enough rows; from 2 to {MOST_GROUPS} "
                "can be compared."
            )
            self.add("inconclusive", len(self.parts), 2, message)
            return []
        try:
            candidates = [
                _Groups.of(metric, self.paired.candidate, self.parts, terms)
                for metric in self.wanted.metrics
            ]
            champions = [
                _Groups.of(metric, self.paired.champion, self.parts, terms)
                for metric in self.wanted.metrics
                if self.paired.champion is not None
            ]
        except _GroupUndefined as problem:
            self.add("inconclusive", None, None, f"{self.name}: {problem}.")
            return []
        self.numbers = {
            "candidate": _spread(candidates, self.wanted.kind, terms),
            "champion": _spread(champions, self.wanted.kind, terms) if champions else None,
            "groups": [
                {
                    "name": part.name,
                    "rows": len(part.rows),
                    **{one.metric.name: one.estimates[place].estimate for one in candidates},
                }
                for place, part in enumerate(self.parts)
            ],
        }
        guardrails = []
        if self.wanted.bound is not None:
            guardrails.append(self._beyond(candidates, self.wanted.bound))
        if self.wanted.margin is not None and terms.bootstrap:
            message = "There is no champion to compare with."
            self.add("skipped", None, None, message, versus=True)
        elif self.wanted.margin is not None:
            guardrails.append(self._grown(candidates, champions, self.wanted.margin))
        return guardrails

    def _beyond(self, candidates: Sequence[_Groups], bound: float) -> Guardrail:
        tests = [test for one in candidates for test in one.beyond(bound, self.wanted.kind)]
        return self._guardrail(tests, bound, self.wanted.text.partition(";")[0])

    def _grown(
        self, candidates: Sequence[_Groups], champions: Sequence[_Groups], margin: float
    ) -> Guardrail:
        tests = [
            test
            for mine, theirs in zip(candidates, champions, strict=True)
            for test in mine.grown(theirs, margin, self.wanted.kind)
        ]
        text = f"not worse than the champion's by more than {margin:g}"
        return self._guardrail(tests, margin, text, versus=True)

    def _guardrail(
        self,
        tests: Sequence[_Tested],
        required: float,
        text: str,
        *,
        versus: bool = False,
    ) -> Guardrail:
        worst = min(tests, key=lambda test: test.p_value)
        first, second = worst.pair
        # Both directions of each pair (Bonferroni): which group is ahead was not known before.
        looks = 2 * len(tests)
        p_value = min(1.0, worst.p_value * looks)
        observed = self.numbers["candidate"]["estimate"]

        def settle(corrected: float, alpha: float, size: int) -> None:
            status: Status = "pass" if corrected > alpha else "fail"
            message = None
            noticed = max(test.noticed(required, alpha / size / looks) for test in tests)
            if (
                status == "pass"
                and self.wanted.most is not None
                and not noticed <= self.wanted.most
            ):
                status = "inconclusive"
                message = (
                    f"{self.name}: a gap would be noticed from {noticed:.3g} on; "
                    f"max_undetectable_loss is {self.wanted.most:g}."
                )
            if status == "fail":
                message = (
                    f"{self.name}: {self.parts[first].name} and {self.parts[second].name} lie too "
                    f"far apart ({self.wanted.kind} {observed:.3g}); required: {text}. The "
                    f"violation is shown (Holm-adjusted p {corrected:.2g})."
                )
            numbers = {
                "p_value": p_value,
                "adjusted_p_value": corrected,
                "detectable_loss": noticed,
            }
            self.add(status, observed, required, message, versus=versus, **numbers)

        return Guardrail(p_value, settle)

    def as_row(self) -> dict[str, Any]:
        """Return the row of ``fairness`` in ``gate.json``."""
        statuses = {item["status"] for item in self.checks}
        order: tuple[Status, ...] = ("fail", "inconclusive", "pass")
        return {
            "set": self.paired.name,
            "columns": self.title,
            "rule": self.wanted.name,
            "kind": self.wanted.kind,
            "candidate": None,
            "champion": None,
            "groups": [],
            **self.numbers,
            "small": [{"name": part.name, "rows": len(part.rows)} for part in self.small],
            "requirement": self.wanted.text,
            "detectable_loss": next(
                (noticed for item in self.checks if (noticed := item.get("detectable_loss"))), None
            ),
            "status": next((status for status in order if status in statuses), "skipped"),
        }


def gaps(config: Config, rules: Sequence[Sequence[Wanted]], one: PairedSet) -> list[Gap]:
    """Return every rule of fairness on a set; ``rules`` are those of each entry of the policy."""
    found = []
    for policy, asked in zip(config.gate.fairness, rules, strict=True):
        if not asked:
            continue
        least = policy.min_slice_size or config.gate.min_slice_size
        cut = slices.as_slice(policy.columns, least)
        countable = slices.count(one.rows, cut) <= slices.MOST_PARTS
        parts = slices.divide(one.rows, cut, sensitive=config.sensitive) if countable else []
        found += [
            Gap(
                paired=one,
                title=_title(policy),
                wanted=rule,
                parts=[part for part in parts if len(part.rows) >= least],
                small=[part for part in parts if len(part.rows) < least],
            )
            for rule in asked
        ]
    return found


def _title(policy: Fairness) -> str:
    return " and ".join(policy.columns)


class _GroupUndefined(Exception):
    """A group has no such number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tested:
    """Two groups compared by one metric.

    Attributes:
        pair: places of the groups.
        p_value: one-sided, of "no further apart than allowed".
        error: standard error of the gap, in the unit that it is told in.
        degrees: of freedom.
        ratio: whether the gap is told as one minus a ratio that is required.

    """

    pair: tuple[int, int]
    p_value: float
    error: float
    degrees: float
    ratio: bool = False

    def noticed(self, allowed: float, alpha: float) -> float:
        """Return the smallest gap noticed with 80 % power, at this one-sided level.

        The gap of a ratio is one minus it: 0.3 for one group's number being 0.7 of the other's.
        """
        allowed = 1 - allowed if self.ratio else allowed
        return allowed + multiplicity.shortfall(self.error, self.degrees, alpha)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Groups:
    """One model's metric in each of k groups, with their covariance (k, k)."""

    metric: Metric
    estimates: list[Estimate]
    covariance: Floats

    @classmethod
    def of(
        cls, metric: Metric, scored: Scored | None, parts: Sequence[slices.Part], terms: Terms
    ) -> _Groups:
        """Measure the groups."""
        estimates = []
        for part in parts:
            try:
                if scored is None:
                    raise Undefined("there are no predictions")
                found = compare(
                    metric,
                    scored,
                    rows=part.rows,
                    confidence=terms.confidence,
                    resamples=terms.resamples,
                    seed=terms.seed,
                    influence=True,
                )
            except Undefined as undefined:
                message = f"{metric.name} on {part.name} is undefined: {undefined.reason}"
                raise _GroupUndefined(message) from None
            estimates.append(found.candidate)
        return cls(metric=metric, estimates=estimates, covariance=_covariance(estimates))

    @property
    def numbers(self) -> Floats:
        """The estimates (k,)."""
        return np.array([one.estimate for one in self.estimates])

    @property
    def degrees(self) -> float:
        """The fewest degrees of freedom of a group."""
        return min((one.degrees_of_freedom or math.inf) for one in self.estimates)

    def beyond(self, bound: float, kind: Kind) -> Iterator[_Tested]:
        """Test for each pair of groups that it is no further apart than the bound."""
        for pair in itertools.combinations(range(len(self.estimates)), 2):
            low, high = sorted(pair, key=lambda place: self.numbers[place])
            a, b = self.numbers[low], self.numbers[high]
            weights = np.zeros(len(self.estimates))
            unit = 1.0
            if kind == "difference":
                weights[high], weights[low] = 1, -1
                excess = b - a - bound
            else:  # a/b < bound, without the division (Fieller 1954, JRSS B 16:175).
                weights[high], weights[low] = bound, -1
                excess = bound * b - a
                unit = float(b)
            variance = float(weights @ self.covariance @ weights)
            yield _Tested(
                pair=pair,
                p_value=_tail(excess, variance, self.degrees),
                error=math.sqrt(max(variance, 0.0)) / unit if unit > 0 else math.inf,
                degrees=self.degrees,
                ratio=kind == "ratio",
            )

    def grown(self, other: _Groups, margin: float, kind: Kind) -> Iterator[_Tested]:
        """Test for each pair that it is apart as the champion's groups are, but for the margin.

        To first order around the estimates, with both models' covariance on the same rows.
        """
        both = _covariance([*self.estimates, *other.estimates])
        count = len(self.estimates)
        for pair in itertools.combinations(range(count), 2):
            mine, my_slope = _apart(self.numbers, pair, kind)
            theirs, their_slope = _apart(other.numbers, pair, kind)
            slope = np.concatenate([my_slope, -their_slope])
            degrees = min(self.degrees, other.degrees)
            if math.isfinite(mine) and math.isfinite(theirs):
                variance = float(slope @ both @ slope)
                p_value = _tail(mine - theirs - margin, variance, degrees)
                error = math.sqrt(max(variance, 0.0))
            else:
                p_value, error = (0.0 if mine > theirs else 1.0), math.inf
            yield _Tested(pair=pair, p_value=p_value, error=error, degrees=degrees)


def _apart(numbers: Floats, pair: tuple[int, int], kind: Kind) -> tuple[float, Floats]:
    """Return how far a pair lies apart (more is worse), and the slope in each number (k,)."""
    low, high = sorted(pair, key=lambda place: numbers[place])
    a, b = float(numbers[low]), float(numbers[high])
    slope = np.zeros(len(numbers))
    if kind == "difference":
        slope[high], slope[low] = 1, -1
        return b - a, slope
    if b <= 0:  # Nobody gets anything: equal.
        return 0.0, slope
    slope[low], slope[high] = -1 / b, a / b**2
    return 1 - a / b, slope


def _covariance(estimates: Sequence[Estimate]) -> Floats:
    influences = [one.influence for one in estimates if one.influence is not None]
    errors = np.array([one.standard_error for one in estimates])
    return multiplicity.correlation(influences) * np.outer(errors, errors)


def _tail(excess: float, variance: float, degrees: float) -> float:
    """Return the one-sided p-value of an excess over a bound."""
    if variance <= 0:
        return 0.0 if excess > 0 else 1.0
    return float(ndtr(-student_score(excess / math.sqrt(variance), degrees)))


def _spread(found: Sequence[_Groups], kind: Kind, terms: Terms) -> dict[str, float]:
    """Return the widest gap (fairlearn's number) with bounds that hold for all pairs together."""
    confidence = 1 - (1 - terms.confidence) / len(found)
    numbers, lows, highs = [], [], []
    for one in found:
        for contrast in multiplicity.pairwise(
            one.estimates,
            scale=kind,
            confidence=confidence,
            resamples=terms.resamples,
            seed=terms.seed,
        ):
            low, high = contrast.low, contrast.high
            if kind == "difference":
                numbers.append(abs(contrast.estimate))
                lows.append(max(low, -high, 0.0))
                highs.append(max(abs(low), abs(high)))
            else:
                ratio = contrast.estimate
                numbers.append(min(ratio, 1 / ratio if ratio else math.inf))
                lows.append(min(low, 1 / high if high else math.inf))
                highs.append(1.0 if low <= 1 <= high else (high if high < 1 else 1 / low))
    worst = max if kind == "difference" else min
    return {"estimate": worst(numbers), "low": worst(lows), "high": worst(highs)}
