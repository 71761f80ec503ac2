"""The policy in force, and what it says of paired sets: every rule's answer, but no verdict yet."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_actions.config import Config, Project
from mlops_actions.evidence import Check, check
from mlops_actions.gate import fairness, rows, rules
from mlops_actions.gate.predictions import PairedSet
from mlops_actions.gate.rows import Chosen, Row, Terms
from mlops_actions.gate.statistics.metrics import UnknownMetric, lookup

REGRESSION = "regression"
"""The frozen set, on which every rule is a guardrail."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy:
    """The section ``gate``, with its metrics looked up.

    Attributes:
        config: the configuration in force.
        chosen: the metrics and what is asked of each.
        fairness: the rules of each entry of ``gate.fairness``.

    """

    config: Config
    chosen: list[Chosen]
    fairness: list[list[fairness.Wanted]]

    @property
    def reads_probability(self) -> bool:
        """Whether a metric reads probabilities."""
        metrics = [item.metric for item in self.chosen]
        metrics += [metric for part in self.fairness for rule in part for metric in rule.metrics]
        return any("probability" in metric.needs for metric in metrics)

    def guarded(self, terms: Terms) -> Terms:
        """Return the terms of guardrails: of the policy's own level, however worn the set is."""
        return dataclasses.replace(terms, confidence=self.config.gate.confidence)

    def parts_of_names(self, pattern: str) -> list[str]:
        """Return what the pattern's group matches in the metrics' names."""
        names = [item.name for item in self.chosen]
        names += [metric.name for part in self.fairness for rule in part for metric in rule.metrics]
        return sorted({found[1] for name in names if (found := re.fullmatch(pattern, name))})

    @property
    def quantiles(self) -> list[float]:
        """The quantile levels that a metric reads."""
        return [float(level) for level in self.parts_of_names(r"(?:neg_)?pinball_(0?\.\d+)")]

    @property
    def losses(self) -> list[str]:
        """The user's own losses that a metric reads."""
        return self.parts_of_names(r"(?:neg_)?loss_(\w+)")


def choose(project: Project) -> Policy:
    """Look up the policy's metrics.

    Raises:
        ConfigurationError: at the line of a metric that does not exist or does not fit.

    """
    config = project.config
    classes = len(config.labels) if config.labels else None
    chosen = []
    for name, policy in config.gate.metrics.items():
        try:
            metric = lookup(
                name, config.task, classes=classes, positive=config.positive is not None
            )
            greater = rules.direction(metric, policy)
        except (UnknownMetric, ValueError) as problem:
            raise project.error(str(problem), "gate", "metrics", name) from None
        chosen.append(Chosen(metric=metric, policy=policy, greater=greater))
    asked = config.gate.explanation
    if asked is not None:
        first = asked.metric or chosen[0].name
        measured = next((item for item in chosen if item.name == first), None)
        if measured is not None and measured.metric.needs & {"loss", "quantile"}:
            raise project.error(
                f"Importance cannot be measured by {first}, which reads columns of its own; "
                "name another of gate.metrics.",
                *("gate", "explanation", *(["metric"] if asked.metric else [])),
            )
    for place, part in enumerate(config.gate.slices):
        for name in part.metrics or ():
            if name not in config.gate.metrics:
                raise project.error(
                    f"The slice names the metric {name}, which gate.metrics does not have.",
                    *("gate", "slices", place, "metrics"),
                )
    return Policy(config=config, chosen=chosen, fairness=fairness.wanted(project))


@dataclasses.dataclass(kw_only=True)
class Assessment:
    """Every rule's answer.

    Attributes:
        rows: metrics on sets and slices.
        gaps: rules of fairness.
        small: rows of ``slices`` for those too small to be judged.
        checks: all answers.

    """

    rows: list[Row] = dataclasses.field(default_factory=list)
    gaps: list[fairness.Gap] = dataclasses.field(default_factory=list)
    small: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    checks: list[Check] = dataclasses.field(default_factory=list)

    @property
    def shows_something(self) -> bool:
        """Whether a requirement on a whole set was shown."""
        return any(row.shows_something for row in self.rows if row.part is None)


def assess(
    policy: Policy,
    paired: Sequence[PairedSet],
    terms: Terms,
    *,
    had: Mapping[str, Sequence[str]] | None = None,
) -> Assessment:
    """Judge every rule on every set.

    Args:
        policy: what is asked.
        paired: sets with at least a candidate.
        terms: how it is judged.
        had: names of slices, by set, that must still be there.

    """
    found = Assessment()
    for one in paired:
        frozen = one.name == REGRESSION
        found.rows += rows.whole(policy.chosen, one, frozen=frozen)
        if frozen:
            continue
        lost = (had or {}).get(one.name, ())
        divided = rows.sliced(policy.config, policy.chosen, one, lost)
        found.rows += divided.rows
        found.checks += divided.checks
        found.small += [
            rows.as_small(one, part, required=required) for part, required in divided.small
        ]
        found.gaps += fairness.gaps(policy.config, policy.fairness, one)
    rows.measure(found.rows, terms)
    guardrails = [guardrail for row in found.rows for guardrail in row.answer(terms)]
    # Wear asks more of what must be shown. Of a guardrail it would ask less: it keeps its level.
    guarded = policy.guarded(terms)
    guardrails += [guardrail for gap in found.gaps for guardrail in gap.measure(guarded)]
    rows.settle(guardrails, 1 - guarded.confidence)
    found.checks += [item for row in found.rows for item in row.checks]
    found.checks += [item for gap in found.gaps for item in gap.checks]
    if paired and not found.shows_something:
        message = "No requirement was shown, and a policy that shows nothing blesses nothing."
        if terms.bootstrap:
            message += " Without a champion only a threshold can be shown."
        name = "policy: something is shown"
        found.checks.append(check(name, "inconclusive", 0, 1, message))
    return found
