"""What a report shows, as it was read from the documents of a run."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mlops_actions.report.reading import Interval

STAGES = ("validate", "train", "score", "gate")
NOTHING = "\N{EN DASH}"  # What stands where there is nothing to show.
GOOD = frozenset({"passed", "blessed", "unchanged"})
STATUSES = ("fail", "inconclusive", "pass", "skipped")  # In the order they are shown.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One check of a stage."""

    stage: str
    name: str
    status: str
    observed: str | None
    required: str | None
    message: str | None
    set: str | None
    file: str | None
    rule: str | None  # The gate's rule, such as non_inferiority_margin, and what it looked at:
    metric: str | None
    slice: str | None
    guardrail: bool
    value: Interval | None
    found: float | None  # What was observed, as a number.
    rows: int | None
    bound: float | None
    columns: tuple[str, ...]
    examples: tuple[tuple[str | None, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Candidate and champion in one metric, on a set or on a slice of it."""

    set: str
    slice: str | None
    rows: int | None
    groups: int | None
    metric: str
    greater_is_better: bool | None
    candidate: Interval | None
    champion: Interval | None
    difference: Interval | None
    requirement: str | None
    required: bool
    value_limit: float | None
    difference_limit: float | None
    status: str
    method: str | None
    reason: str | None  # Why there is no number.
    anchored: bool  # Compared with the best earlier model instead of the champion.
    detectable_loss: float | None  # The smallest loss that would have been noticed.

    @property
    def decides(self) -> bool:
        """Whether it was judged at all."""
        return self.status != "skipped"

    @property
    def measured(self) -> bool:
        """Whether it stands for a metric: a slice with too few rows is only listed."""
        return self.metric != NOTHING


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gap:
    """A rule of fairness, with its groups as texts: name, rows, the metrics' values."""

    set: str
    columns: str
    rule: str
    candidate: Interval | None
    champion: Interval | None
    requirement: str | None
    ratio: bool
    detectable_loss: float | None  # The smallest gap that would have been noticed.
    status: str
    metrics: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSet:
    """A set that models are judged on, and the window it covers."""

    name: str
    path: str | None
    rows: int | None
    groups: int | None
    first: str | None
    last: str | None
    digest: str | None
    key_overlap: int | None
    content_overlap: int | None
    judged: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """The training data."""

    path: str | None
    rows: int | None
    cutoff: str | None
    digest: str | None
    files: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """The distribution of a column in training, and in the baseline's training data."""

    name: str
    labels: tuple[str, ...]  # Categories; empty for a histogram.
    edges: tuple[float, ...]  # Of the histogram; empty for categories.
    counts: tuple[float, ...]
    baseline_edges: tuple[float, ...]
    baseline_counts: tuple[float, ...]  # In the order of ``labels``, for categories.
    nulls: int | None
    rows: int | None
    distance: float | None
    ordinary: float | None  # The largest distance between windows of time in training itself.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """Points to draw for one model: reliability, or residuals."""

    title: str
    model: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()  # A band around y, or none.
    high: tuple[float, ...] = ()
    reference: Literal["diagonal", "zero"] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fact:
    """A line of a table of facts. ``code`` is shown as it would be typed."""

    name: str
    value: str
    code: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A section with one table.

    Attributes:
        title: of the section.
        caption: what the table shows, in a sentence.
        heads: of the columns.
        rows: as texts, each as long as the heads; the first may be a status, or empty. Several
            texts of a cell stand one below the other.

    """

    title: str
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str | tuple[str, ...], ...], ...]

    @property
    def signed(self) -> bool:
        """Whether the first column is a status."""
        return not self.heads[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that a report shows."""

    model: str
    verdict: str
    stage: str | None  # The one that decided.
    mode: str
    smoke: bool
    bootstrap: bool
    baseline: str | None
    stages: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    checks: tuple[Check, ...]
    metrics: tuple[Comparison, ...]
    slices: tuple[Comparison, ...]
    fairness: tuple[Gap, ...]
    mutants: tuple[tuple[str, bool], ...]  # Known-bad candidates, and whether each was noticed.
    calibration: tuple[tuple[str, str, float], ...]  # Set, model, expected calibration error.
    override: bool
    training: Training | None
    sets: tuple[EvaluationSet, ...]
    shared_evaluation: bool
    warnings: tuple[str, ...]
    facts: tuple[Fact, ...]
    parameters: tuple[Fact, ...]
    policy: tuple[Fact, ...]
    evidence: tuple[Fact, ...]
    columns: tuple[Column, ...]
    curves: tuple[Curve, ...]
    tables: tuple[Table, ...] = ()

    def of_stage(self, stage: str) -> tuple[Check, ...]:
        """The checks of a stage, those first that decide."""
        return tuple(check for check in self.checks if check.stage == stage)

    @property
    def baseline_title(self) -> str:
        """The baseline as a heading: ``Champion (version 3)``."""
        name = (self.baseline or "the champion").removeprefix("the ")
        return name[:1].upper() + name[1:]

    @property
    def blamed(self) -> str | None:
        """The stage before the gate that did not go well, if there is one."""
        return next((s for s, verdict in self.stages if s != "gate" and verdict not in GOOD), None)

    def row(self, check: Check) -> Comparison | None:
        """The row of slices that a check is about."""
        if check.slice is None:
            return None
        key = (check.set, check.metric, check.slice)
        return next((one for one in self.slices if (one.set, one.metric, one.slice) == key), None)

    def direction(self, check: Check) -> bool | None:
        """Whether more of a check's metric is better."""
        return next(
            (
                one.greater_is_better
                for one in (*self.metrics, *self.slices)
                if one.metric == check.metric
            ),
            None,
        )
