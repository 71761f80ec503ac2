"""The rules of a metric's policy, each with three answers.

A **requirement** must be shown: it passes when the whole interval lies on the right side of its
bound, fails when the whole interval lies on the wrong side, and is inconclusive in between. All
requirements must hold, so none needs a corrected level (intersection-union: Berger 1982,
Technometrics 24:295).

A **guardrail** fails when a violation is shown, with Holm's correction over all guardrails of a
verdict (Holm 1979, Scandinavian Journal of Statistics 6:65).
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from mlops_actions.config import MetricPolicy
from mlops_actions.evidence import Status
from mlops_actions.gate.statistics.comparison import Comparison
from mlops_actions.gate.statistics.intervals import Estimate
from mlops_actions.gate.statistics.metrics import Metric

Rule = Literal[
    "threshold",
    "non_inferiority_margin",
    "min_absolute_change",
    "min_relative_change",
    "max_absolute_change",
]
REQUIREMENTS: tuple[Rule, ...] = (
    "threshold",
    "non_inferiority_margin",
    "min_absolute_change",
    "min_relative_change",
)
CHANGES: frozenset[Rule] = frozenset(
    ("non_inferiority_margin", "min_absolute_change", "min_relative_change", "max_absolute_change")
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """One rule, in the metric's own direction.

    Attributes:
        rule: its word in ``mlops.yaml``.
        bound: the number beside it.
        greater: whether more of the metric is better.

    """

    rule: Rule
    bound: float
    greater: bool

    @property
    def text(self) -> str:
        """What is asked, in words."""
        bound = f"{self.bound:g}"
        if self.rule == "threshold":
            return f"at {'least' if self.greater else 'most'} {bound}"
        if self.rule == "non_inferiority_margin":
            return f"not worse by more than {bound}" if self.bound else "not worse"
        if self.rule == "min_absolute_change":
            return f"better by more than {bound}" if self.bound else "better"
        if self.rule == "min_relative_change":
            return f"better by more than {self.bound:.4g} of the champion's value"
        return f"not better by more than {bound}"

    def required(self) -> float:
        """Return the bound as it applies to the observed number, in the metric's own direction.

        For changes that is the bound of candidate minus champion: a margin of 0.01 is -0.01 for a
        score and 0.01 for a loss.
        """
        if self.rule == "threshold":
            return self.bound
        sign = -1 if self.rule == "non_inferiority_margin" else 1
        return sign * self.bound * (1 if self.greater else -1) or 0.0

    def observed(self, comparison: Comparison) -> Estimate | None:
        """Return what the rule looks at, in the metric's own direction."""
        if self.rule == "threshold":
            return comparison.candidate
        if self.rule == "min_relative_change":
            relative = comparison.relative
            return relative.negated() if relative and comparison.metric.negated else relative
        return comparison.difference

    def better(self, comparison: Comparison) -> Estimate | None:
        """Return the same with the sign that makes more better."""
        observed = self.observed(comparison)
        return observed if observed is None or self.greater else observed.negated()

    def limit(self) -> float:
        """Return the bound with the sign that makes more better."""
        return self.required() if self.greater else -self.required()

    def judge(self, comparison: Comparison) -> Status:
        """Judge it as a requirement."""
        better, limit = self.better(comparison), self.limit()
        if better is None:
            return "inconclusive"
        # "At least" includes its bound; an improvement has to exceed it, so that none is none.
        inclusive = self.rule in {"threshold", "non_inferiority_margin"}
        if better.low >= limit if inclusive else better.low > limit:
            return "pass"
        if better.high < limit or (not inclusive and better.low == better.high):
            return "fail"
        return "inconclusive"

    def violation(self, comparison: Comparison) -> float:
        """Return the one-sided p-value of "the truth violates this", for a guardrail."""
        better = self.better(comparison)
        if better is None:
            return 1.0
        if self.rule == "max_absolute_change":
            return better.p_value(self.limit(), "greater")
        return better.p_value(self.limit(), "less")


def direction(metric: Metric, policy: MetricPolicy) -> bool:
    """Return whether more of the metric is better.

    Raises:
        ValueError: the policy contradicts the metric, or must say it and does not.

    """
    known, said = metric.greater_is_better, policy.greater_is_better
    if known is None:
        if said is None:
            raise ValueError(f"{metric.name} needs greater_is_better: true or false.")
        return said
    if said is not None and said != known:
        raise ValueError(
            f"greater_is_better of {metric.name} is {str(known).lower()}, not {str(said).lower()}."
        )
    return known


def requirements(policy: MetricPolicy, *, greater: bool) -> list[Asked]:
    """Return the rules of a metric that must be shown."""
    return [
        Asked(rule=rule, bound=bound, greater=greater)
        for rule in REQUIREMENTS
        if (bound := getattr(policy, rule)) is not None
    ]


def guardrails(policy: MetricPolicy, *, greater: bool) -> list[Asked]:
    """Return the rules of a metric that must not be violated, on the whole set."""
    if policy.max_absolute_change is None:
        return []
    return [Asked(rule="max_absolute_change", bound=policy.max_absolute_change, greater=greater)]


def frozen_guardrail(policy: MetricPolicy, *, greater: bool) -> Asked | None:
    """Return what a metric's policy asks of the frozen set.

    What it asks of a slice; where it has a threshold only, the threshold.
    """
    asked = slice_guardrail(policy, greater=greater)
    if asked is None and policy.threshold is not None:
        return Asked(rule="threshold", bound=policy.threshold, greater=greater)
    return asked


def slice_guardrail(policy: MetricPolicy, *, greater: bool) -> Asked | None:
    """Return what a metric's policy asks of a slice that is a guardrail.

    Where it compares with the champion: not worse beyond the margin (0 if it has none). Else
    nothing: a threshold for all rows says little of rows that are harder than the rest.
    """
    compares = (
        policy.non_inferiority_margin,
        policy.min_absolute_change,
        policy.min_relative_change,
    )
    if any(value is not None for value in compares):
        margin = policy.non_inferiority_margin or 0.0
        return Asked(rule="non_inferiority_margin", bound=margin, greater=greater)
    return None
