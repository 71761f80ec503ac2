"""``mlops.yaml``: one file, read once, refused with the line where it is wrong.

The models below are the only description of the file: the published JSON Schema
(``mlops.schema.json``) is generated from them, so editors complete what we accept.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from mlops_actions.errors import ConfigurationError

SCHEMA_URL = "https://raw.githubusercontent.com/mlops-actions/mlops-actions/main/mlops.schema.json"
EvaluationSet = Literal["development", "release", "regression"]
EVALUATION_SETS: tuple[EvaluationSet, ...] = ("development", "release", "regression")

_DURATION = re.compile(r"([0-9]+)\s*(s|m|h|d|w)")
_MOST_VARIANTS = 50  # Of one row.
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> datetime.timedelta:
    """Read a duration such as ``90m``, ``12h`` or ``7d``."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError("expected a number and one of s, m, h, d, w, such as 7d")
    try:
        return datetime.timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise ValueError("that is longer than time is counted") from None


def _duration(value: object) -> object:
    parse_duration(value if isinstance(value, str) else "")  # 15 is 15 of what?
    return value


def _inside(text: str) -> str:
    path = Path(text)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("a path must stay inside the folder of mlops.yaml")
    if any(ord(character) < 32 for character in text):  # noqa: PLR2004 - control characters.
        raise ValueError("a path has no control characters")
    return text


def _words(text: str) -> str:
    if not text.strip():
        raise ValueError("says nothing")
    return text.strip()


def _date(value: object) -> object:
    # In quotes it is text; YAML makes a date of it otherwise.
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return datetime.date.fromisoformat(value)
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    raise ValueError("expected a date such as 2027-01-31")


def _most_severe() -> list[Severity]:
    return ["CRITICAL", "HIGH"]


Duration = Annotated[str, Field(min_length=2), BeforeValidator(_duration)]
RelativePath = Annotated[str, Field(min_length=1), AfterValidator(_inside)]
Column = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Label = int | str | bool
Value = int | float | str | bool | None
Severity = Literal["CRITICAL", "HIGH", "MEDIUM", "LOW"]
Words = Annotated[str, Field(min_length=1), AfterValidator(_words)]
CalendarDate = Annotated[datetime.date, BeforeValidator(_date)]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True
    )


class Freshness(_Section):
    """How old the newest row may be."""

    column: Column | None = Field(None, description="Time column; by default `time`.")
    max_age: Duration = Field(description="Largest age of the newest row, such as 7d.")


class DataChecks(_Section):
    """What is checked besides the schema."""

    min_rows: int = Field(1, ge=1, description="Fewest rows of each file.")
    unique_id: bool = Field(True, description="Whether an id may occur once only.")
    max_null_fraction: dict[Column, Fraction] = Field(
        default_factory=dict, description="Largest share of nulls, by column."
    )
    unseen_categories: Literal["fail", "warn", "ignore"] = Field(
        "warn", description="What a category means that the baseline's training data never had."
    )
    freshness: Freshness | None = None
    max_profile_distance: float | None = Field(
        None,
        gt=0,
        description="Largest distance of a column from the training baseline's profile; "
        "by default the distance is reported and decides nothing.",
    )


class EvaluationFiles(_Section):
    """The evaluation sets, by name."""

    development: RelativePath = Field(description="What pull requests are judged on.")
    release: RelativePath = Field(description="What decides on the default branch.")
    regression: RelativePath | None = Field(
        None, description="A frozen set on which no model may get worse."
    )


class Data(_Section):
    """Where the data comes from."""

    command: str | None = Field(
        None, min_length=1, description="User code that makes the files below; runs first."
    )
    schema_: str | None = Field(
        None,
        alias="schema",
        min_length=1,
        description="A Pandera schema: a YAML file, or package.module:Schema in the project.",
    )
    training: RelativePath = Field(description="Parquet or CSV: a file, a glob or a folder.")
    evaluation: RelativePath | EvaluationFiles = Field(
        description="One file for every evaluation set, or the sets by name."
    )
    gap: Duration = Field(
        "0d", description="Time left out between the training cut-off and the release window."
    )
    checks: DataChecks = Field(default_factory=DataChecks)

    def evaluation_path(self, name: EvaluationSet) -> str | None:
        """Where the set lies, or ``None`` when there is no such set."""
        if isinstance(self.evaluation, str):
            return self.evaluation
        path: str | None = getattr(self.evaluation, name)
        return path

    @property
    def shared_evaluation(self) -> bool:
        """Whether one file is every evaluation set."""
        return isinstance(self.evaluation, str)


class Train(_Section):
    """How the model is trained."""

    command: str = Field("dvc repro", min_length=1, description="Runs in the project environment.")
    stage: str | None = Field(
        None,
        min_length=1,
        description="DVC stage that logs the model: forced when DVC finds nothing to do but the "
        "registry has no such model.",
    )
    timeout: Duration = Field("60m", description="The command is stopped after this time.")
    dvc_pull: bool = Field(
        True,
        description="Pull from the DVC remote before the data command, where one is configured.",
    )
    dvc_push: bool = Field(
        False,
        description="Push to the DVC remote after success, on the default branch only.",
    )
    dvc_lock: Literal["report", "fail", "ignore"] = Field(
        "report",
        description="What it means when dvc.lock changes in CI. It is never committed from there.",
    )


class MetricPolicy(_Section):
    """What is asked of one metric. Words as in MLflow's MetricThreshold."""

    threshold: float | None = Field(None, description="Absolute bound, shown by the interval.")
    min_absolute_change: float | None = Field(
        None, ge=0, description="Improvement over the champion that must be shown."
    )
    min_relative_change: float | None = Field(
        None, ge=0, description="The same, as a share of the champion's value."
    )
    non_inferiority_margin: float | None = Field(
        None, ge=0, description="How much worse than the champion the model may be."
    )
    max_absolute_change: float | None = Field(
        None, gt=0, description="A larger improvement is suspicious: it reads as a leak."
    )
    max_undetectable_loss: float | None = Field(
        None,
        gt=0,
        description="A guardrail that would have missed a larger loss (at 80 % power) is "
        "inconclusive.",
    )
    greater_is_better: bool | None = Field(
        None, description="Needed only for loss_<name>; known for every other metric."
    )

    @property
    def compares(self) -> bool:
        """Whether a rule of it needs a champion."""
        return any(
            value is not None
            for value in (
                self.min_absolute_change,
                self.min_relative_change,
                self.non_inferiority_margin,
                self.max_absolute_change,
            )
        )

    @model_validator(mode="after")
    def _asks_something(self) -> MetricPolicy:
        asked = (
            self.threshold,
            self.min_absolute_change,
            self.min_relative_change,
            self.non_inferiority_margin,
            self.max_absolute_change,
        )
        if all(value is None for value in asked):
            raise ValueError(
                "a metric must ask for something: threshold, non_inferiority_margin, "
                "min_absolute_change, min_relative_change or max_absolute_change"
            )
        return self


class Slice(_Section):
    """Rows that are judged by themselves."""

    columns: list[Column] = Field(min_length=1, description="One column, or columns to cross.")
    bins: int | None = Field(
        None, ge=2, le=20, description="Cut a numeric column into this many quantile bins."
    )
    require: bool = Field(
        False,
        description="The requirement must be shown in each slice; otherwise a slice is a "
        "guardrail, which fails when a violation is shown.",
    )
    min_slice_size: int | None = Field(None, ge=1, description="Fewest rows; see gate.")
    metrics: list[str] | None = Field(
        None, min_length=1, description="The metrics to judge here; by default all of the gate's."
    )
    values: list[Label] | None = Field(
        None, min_length=1, description="Values of a single column that must occur."
    )

    @model_validator(mode="after")
    def _fits(self) -> Slice:
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("columns: each column once")
        if self.values is not None and (len(self.columns) > 1 or self.bins is not None):
            raise ValueError("values: needs a single column without bins")
        return self


class LargestGap(_Section):
    """How far groups may lie apart."""

    max: float | None = Field(None, gt=0, description="Largest difference between two groups.")
    non_inferiority_margin: float | None = Field(
        None, ge=0, description="How much larger than the champion's a difference may be."
    )
    max_undetectable_loss: float | None = Field(
        None,
        gt=0,
        description="Inconclusive when a larger difference would be missed (at 80 % power).",
    )

    @model_validator(mode="after")
    def _asks_something(self) -> LargestGap:
        if self.max is None and self.non_inferiority_margin is None:
            raise ValueError("needs max or non_inferiority_margin")
        return self


class SmallestRatio(_Section):
    """How unequal groups may be."""

    min: float | None = Field(
        None, gt=0, le=1, description="Smallest ratio of one group's number to another's."
    )
    non_inferiority_margin: float | None = Field(
        None, ge=0, description="How much smaller than the champion's a ratio may be."
    )
    max_undetectable_loss: float | None = Field(
        None,
        gt=0,
        description="Inconclusive when a larger gap would be missed (at 80 % power); the gap of a "
        "ratio is 1 minus it.",
    )

    @model_validator(mode="after")
    def _asks_something(self) -> SmallestRatio:
        if self.min is None and self.non_inferiority_margin is None:
            raise ValueError("needs min or non_inferiority_margin")
        return self


class Fairness(_Section):
    """What is asked of groups of people, with fairlearn's definitions; all are guardrails."""

    columns: list[Column] = Field(min_length=1, description="One column, or columns to cross.")
    min_slice_size: int | None = Field(
        None, ge=1, description="Groups with fewer rows are listed and not judged; see gate."
    )
    demographic_parity_ratio: SmallestRatio | None = Field(
        None, description="Smallest ratio of the groups' shares of positive answers."
    )
    equalized_odds_difference: LargestGap | None = Field(
        None, description="Largest difference of the groups' true or false positive rates."
    )
    difference: dict[str, LargestGap] = Field(
        default_factory=dict, description="Largest difference of a metric between groups."
    )
    ratio: dict[str, SmallestRatio] = Field(
        default_factory=dict, description="Smallest ratio of a metric between groups."
    )

    @model_validator(mode="after")
    def _asks_something(self) -> Fairness:
        single = (self.demographic_parity_ratio, self.equalized_odds_difference)
        if not (self.difference or self.ratio or any(single)):
            raise ValueError(
                "fairness must ask for something: demographic_parity_ratio, "
                "equalized_odds_difference, difference or ratio"
            )
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("columns: each column once")
        return self


class Override(_Section):
    """Who lets a candidate pass against the gate's verdict, on the default branch."""

    who: Words = Field(description="The account that decided it.")
    why: Words = Field(description="The reason, in a sentence.")
    until: int = Field(
        ge=1, description="The last version that it holds for; later ones are judged as ever."
    )


class Invariance(_Section):
    """A change of the input that must not move the prediction."""

    name: Words
    change: dict[Column, list[Value]] = Field(
        min_length=1, description="Values that are put in, by column; several columns are crossed."
    )
    max_change: float = Field(
        0,
        ge=0,
        description="How far the prediction may move: of a probability where there are some, "
        "else of the number; another label counts as 1.",
    )
    max_share: Fraction = Field(0, description="Share of the rows that may move further.")

    @model_validator(mode="after")
    def _fits(self) -> Invariance:
        if any(not values for values in self.change.values()):
            raise ValueError("change: each column needs a value")
        if math.prod(len(values) for values in self.change.values()) > _MOST_VARIANTS:
            raise ValueError(f"change: more than {_MOST_VARIANTS} combinations")
        return self


class Direction(_Section):
    """A change of the input with a known effect on the prediction."""

    name: Words
    add: dict[Column, float | int] = Field(
        min_length=1, description="What is added to a row's number, by column."
    )
    expect: Literal["increase", "decrease"] = Field(
        description="Where the number, or the positive label's probability, must not fall behind."
    )
    tolerance: float = Field(0, ge=0, description="A step the other way that is no failure.")
    max_share: Fraction = Field(0, description="Share of the rows that may fail.")


class Functionality(_Section):
    """Rows whose answer is known: the least that a model must get right."""

    name: Words
    rows: list[dict[Column, Value]] = Field(
        min_length=1, max_length=1000, description="The columns that the model reads, row by row."
    )
    expect: Label | None = Field(None, description="The label that each row must get.")
    min: float | None = Field(
        None, description="The number, or the positive label's probability, is at least this."
    )
    max: float | None = Field(None, description="It is at most this.")

    @model_validator(mode="after")
    def _asks_something(self) -> Functionality:
        if self.expect is None and self.min is None and self.max is None:
            raise ValueError("needs expect, min or max")
        return self


class Behaviour(_Section):
    """What the model does when its input is changed on purpose."""

    rows: int = Field(
        500, ge=1, le=10_000, description="Rows of the evaluation set that are changed."
    )
    invariance: list[Invariance] = Field(default_factory=list)
    directional: list[Direction] = Field(default_factory=list)
    minimum_functionality: list[Functionality] = Field(default_factory=list)
    tests: RelativePath | None = Field(
        None,
        description="A pytest file of the project's, run in the project environment; its fixture "
        "predict takes a data frame and gives the candidate's predictions.",
    )
    timeout: Duration = Field("15m", description="The tests are stopped after this time.")

    @model_validator(mode="after")
    def _asks_something(self) -> Behaviour:
        declared: list[Invariance | Direction | Functionality] = [
            *self.invariance, *self.directional, *self.minimum_functionality,
        ]  # fmt: skip
        if not declared and self.tests is None:
            raise ValueError(
                "behaviour must ask for something: invariance, directional, "
                "minimum_functionality or tests"
            )
        names = [case.name for case in declared]
        if len(set(names)) != len(names):
            raise ValueError("each case needs a name of its own")
        return self


class RunningCost(_Section):
    """How long an answer may take, and what the model may weigh."""

    max_ratio: float | None = Field(
        None, gt=0, description="Largest ratio of the candidate's time to the champion's, shown."
    )
    max_row: float | None = Field(
        None, gt=0, description="Longest time of one row, in milliseconds, shown."
    )
    max_batch: float | None = Field(
        None, gt=0, description="Longest time of a batch, in milliseconds, shown."
    )
    quantile: Literal["p50", "p95", "p99"] = Field(
        "p95", description="The quantile of the times that these refer to."
    )
    batch: int = Field(1000, ge=2, le=1_000_000, description="Rows of a batch.")
    rounds: int = Field(
        200, ge=50, le=10_000, description="Times that each model is asked, in turns."
    )
    max_memory: int | None = Field(None, ge=1, description="Largest peak memory, in bytes.")
    max_model_size: int | None = Field(None, ge=1, description="Largest size of the model's files.")
    max_load: float | None = Field(None, gt=0, description="Longest time of loading, in seconds.")

    @model_validator(mode="after")
    def _asks_something(self) -> RunningCost:
        asked = (
            self.max_ratio, self.max_row, self.max_batch,
            self.max_memory, self.max_model_size, self.max_load,
        )  # fmt: skip
        if all(value is None for value in asked):
            raise ValueError(
                "latency must ask for something: max_ratio, max_row, max_batch, max_memory, "
                "max_model_size or max_load"
            )
        return self


class Explanation(_Section):
    """What the model listens to: permutation importance."""

    metric: str | None = Field(
        None, min_length=1, description="A metric of the gate's; by default the first."
    )
    rows: int = Field(2_000, ge=100, le=100_000, description="Rows whose columns are permuted.")
    repeats: int = Field(3, ge=1, le=20, description="Permutations of each column.")
    max_importance_share: float | None = Field(
        None, gt=0, lt=1, description="Largest share of all importance that one column may have."
    )


class Gate(_Section):
    """What the candidate must show before it is blessed."""

    metrics: dict[str, MetricPolicy] = Field(
        min_length=1, description="Requirements, by metric (scikit-learn's names)."
    )
    slices: list[Slice] = Field(default_factory=list)
    fairness: list[Fairness] = Field(default_factory=list)
    min_slice_size: int = Field(
        100, ge=1, description="Slices with fewer rows are listed and not judged."
    )
    min_rows: int = Field(100, ge=1, description="Fewer evaluation rows than this decide nothing.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of the two-sided intervals.")
    resamples: int = Field(
        10_000, ge=1_000, le=1_000_000, description="Draws, where an interval is made of draws."
    )
    seed: int = Field(0, ge=0, description="Of the draws; kept in the evidence.")
    bootstrap: Literal["allow", "refuse"] = Field(
        "refuse",
        description="What the first model meets, when there is no champion to compare with.",
    )
    mode: Literal["enabled", "dry_run", "disabled"] = Field(
        "enabled", description="A dry run reports its verdict, loudly, and stops nothing."
    )
    self_test: Literal["warn", "strict"] = Field(
        "warn",
        description="What it means that no rule would notice some kind of damage. That the policy "
        "would bless nonsense always fails.",
    )
    max_verdicts: int | None = Field(
        None, ge=1, description="Verdicts that one release set may give before it is worn out."
    )
    behaviour: Behaviour | None = None
    latency: RunningCost | None = None
    explanation: Explanation | None = None
    approval_label: str = Field(
        "policy-approved",
        min_length=1,
        max_length=50,
        description="Label by which someone else approves a change of the policy.",
    )
    override: Override | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Gate:
        metric = self.explanation and self.explanation.metric
        if metric and metric not in self.metrics:
            raise ValueError(f"explanation: gate.metrics has no {metric}")
        return self

    @property
    def columns(self) -> list[str]:
        """The columns that slices and fairness divide the rows by."""
        divided: list[Slice | Fairness] = [*self.slices, *self.fairness]
        parts = [part.columns for part in divided]
        return list(dict.fromkeys(column for columns in parts for column in columns))


class Smoke(_Section):
    """A quick run on a sample, which looks for breakage only."""

    command: str = Field(
        min_length=1, description="Trains on a sample: MLOPS_SAMPLE and MLOPS_SEED are set."
    )
    metric: str = Field(min_length=1, description="The score that floor and max_loss refer to.")
    sample: float = Field(0.05, gt=0, le=1, description="MLOPS_SAMPLE, a share of the rows.")
    seed: int = Field(0, ge=0, description="MLOPS_SEED.")
    floor: float = Field(description="The score must be better than this.")
    max_loss: float | None = Field(
        None, ge=0, description="How much worse than the base branch's code on the same sample."
    )


class Waiver(_Section):
    """One finding that somebody answers for, until a date."""

    id: str = Field(
        pattern=r"^[A-Za-z0-9][\w.:-]*$",
        description="The finding's id, such as CVE-2023-45853; no patterns.",
    )
    package: str | None = Field(
        None, min_length=1, description="Only in this package; by default in any."
    )
    target: str | None = Field(
        None,
        min_length=1,
        description="Only in this file or target of the report; a secret's waiver must name it.",
    )
    reason: Words = Field(description="Why it is no danger here, or what is being done.")
    owner: Words = Field(description="Who answers for it: a person or a team.")
    expires: CalendarDate = Field(
        description="The day on which the waiver no longer holds (00:00 UTC), such as 2027-01-31."
    )


class Scan(_Section):
    """What an image may have in it."""

    severities: list[Severity] = Field(
        default_factory=_most_severe,
        min_length=1,
        description="A vulnerability of one of these fails.",
    )
    misconfigurations: list[Severity] = Field(
        default_factory=_most_severe,
        min_length=1,
        description="A misconfiguration of one of these fails.",
    )
    unknown_severity: Literal["fail", "warn"] = Field(
        "fail", description="What a finding means that nobody has scored yet."
    )
    ignore_unfixed: bool = Field(
        False, description="Whether a vulnerability for which there is no fix is only listed."
    )
    end_of_life: Literal["fail", "warn"] = Field(
        "fail", description="What a base image means that gets no more security updates."
    )
    secrets: Literal["fail", "warn"] = Field("fail", description="What a secret in it means.")
    no_packages: Literal["fail", "warn"] = Field(
        "fail", description="What a report means that has looked at no package at all."
    )
    max_waiver_days: int = Field(
        90, ge=1, le=366, description="A waiver may not expire later than this, from today."
    )
    waivers: list[Waiver] = Field(default_factory=list)

    @model_validator(mode="after")
    def _each_once(self) -> Scan:
        seen = set()
        for waiver in self.waivers:
            what = (waiver.id, waiver.package, waiver.target)
            if what in seen:
                raise ValueError(f"waivers: {waiver.id} is waived twice")
            seen.add(what)
        return self


class Parity(_Section):
    """How far predictions in the container may lie from those of the registry's model."""

    absolute: float = Field(1e-9, ge=0, description="Largest absolute difference of a number.")
    relative: float = Field(
        1e-6, ge=0, description="Largest difference of a number as a share of it."
    )


class Latency(_Section):
    """What is asked of a single prediction in the container, on the runner's machine."""

    p95: float = Field(
        1000, gt=0, description="Largest 95th percentile of the time of a request, in milliseconds."
    )
    requests: int = Field(
        100, ge=20, le=100_000, description="Requests of one row that are measured."
    )


class Serving(_Section):
    """The server in the image."""

    max_body_bytes: int = Field(10_000_000, ge=1_000, description="Largest body of a request.")
    max_rows: int = Field(10_000, ge=1, description="Most rows of a request.")
    threads: int | None = Field(
        None, ge=1, description="Predictions at once; by default one for each processor."
    )


class Build(_Section):
    """How the image is made, and what it must show before it is pushed."""

    base: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9._/:-]*(@sha256:[0-9a-f]{64})?$",
        description="Base image with Python, best with its digest; by default "
        "python:<the model's version>-slim-trixie, resolved when the build starts.",
    )
    dockerfile: RelativePath | None = Field(
        None, description="A Dockerfile of your own; it gets the same build context."
    )
    ready_within: Duration = Field("60s", description="Time from the start until /ready.")
    parity: Parity = Field(default_factory=Parity)
    latency: Latency = Field(default_factory=Latency)
    allowed_imports: list[Column] = Field(
        default_factory=list,
        description="Further packages that a pickle among the model's files may import, such as "
        "the project's own.",
    )
    serving: Serving = Field(default_factory=Serving)


class Config(_Section):
    """The whole of ``mlops.yaml``."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$",
        description="The model's name in the registry: lower case, digits, dot, dash, underscore.",
    )
    task: Literal["classification", "regression"]
    target: Column = Field(description="Column to predict.")
    labels: list[Label] | None = Field(
        None, min_length=2, description="The classes, all of them, for classification."
    )
    positive_label: Label | None = Field(
        None, description="The class that binary metrics are about."
    )
    id: Column = Field(description="Column that names a row, once.")
    group: Column | None = Field(
        None, description="Rows of one group are not independent, such as one day or one person."
    )
    weight: Column | None = Field(None, description="Column of row weights.")
    time: Column | None = Field(None, description="Column that says when the row happened.")
    sensitive: list[Column] = Field(
        default_factory=list, description="Columns whose values are never printed."
    )
    data: Data
    train: Train = Field(default_factory=Train)
    score: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="package.module:function(model, frame) of the project that predicts; by "
        "default predict_proba of the native model, else the pyfunc model.",
    )
    gate: Gate
    pull_request: Literal["full", "smoke"] = Field(
        "full", alias="pull-request", description="How a pull request is judged."
    )
    smoke: Smoke | None = None
    build: Build = Field(default_factory=Build)
    scan: Scan = Field(default_factory=Scan)
    registry: Literal["auto", "embedded", "server"] = Field(
        "auto",
        description="auto: the server of MLFLOW_TRACKING_URI, else the branch mlops-state.",
    )
    unattested: Literal["allow", "refuse"] = Field(
        "refuse", description="Whether evidence counts where the plan has no attestations."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        if self.task == "classification" and not self.labels:
            raise ValueError("labels: a classification names all its classes")
        if self.task == "regression" and (self.labels or self.positive_label is not None):
            raise ValueError("labels and positive_label belong to classification")
        if self.labels:
            if len({str(label) for label in self.labels}) != len(self.labels):
                raise ValueError("labels: each class once")
            # 1 and true are equal in Python, and are not the same class.
            if len({type(label) for label in self.labels}) > 1:
                raise ValueError("labels: all numbers, all words, or true and false")
            if any(isinstance(label, int) and abs(label) >= 2**63 for label in self.labels):
                raise ValueError("labels: whole numbers of 64 bits")
            known = [(type(label), label) for label in self.labels]
            positive = self.positive_label
            if positive is not None and (type(positive), positive) not in known:
                raise ValueError("positive_label: not one of the labels")
        for key in ("target", "group", "weight", "time"):
            if getattr(self, key) == self.id:
                raise ValueError(f"{key}: the column {self.id} is the id")
        for key in ("group", "weight"):
            if getattr(self, key) == self.target:
                raise ValueError(f"{key}: the column {self.target} is the target")
        cases = self.gate.behaviour.minimum_functionality if self.gate.behaviour else []
        if self.task == "regression" and any(case.expect is not None for case in cases):
            raise ValueError("gate: expect is a label; a case of a regression has min and max")
        if self.pull_request == "smoke" and self.smoke is None:
            raise ValueError("smoke: pull-request is smoke, so the section smoke is needed")
        return self

    @property
    def positive(self) -> Label | None:
        """The positive class of a binary task: as given, else the last label; else ``None``."""
        if not self.labels or len(self.labels) != 2:  # noqa: PLR2004
            return self.positive_label
        return self.labels[-1] if self.positive_label is None else self.positive_label

    @property
    def key_columns(self) -> list[str]:
        """What the gate needs of an evaluation file: id, target and the columns that divide it."""
        columns = [self.id, self.target]
        columns += [name for name in (self.group, self.weight, self.time) if name]
        columns += self.gate.columns
        return list(dict.fromkeys(columns))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Project:
    """A configuration and where it stands."""

    config: Config
    file: Path
    lines: dict[tuple[str | int, ...], int]

    @property
    def folder(self) -> Path:
        """The folder of ``mlops.yaml``: every path in it starts here."""
        return self.file.parent

    def path(self, relative: str) -> Path:
        """Resolve a path of the configuration; refuse one that a link leads outside."""
        path = self.folder / relative
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ConfigurationError(f"{relative} leads outside the project.", file=self.file)
        return path

    def line(self, *where: str | int) -> int | None:
        """The line of a key, or of the nearest key above it."""
        for length in range(len(where), 0, -1):
            found = self.lines.get(tuple(where[:length]))
            if found is not None:
                return found
        return None

    def column_line(self, column: str) -> int | None:
        """The line where a key column is first named."""
        config = self.config
        for key in ("id", "target", "group", "weight", "time"):
            if getattr(config, key) == column:
                return self.line(key)
        for part in ("slices", "fairness"):
            for number, divided in enumerate(getattr(config.gate, part)):
                if column in divided.columns:
                    place = divided.columns.index(column)
                    return self.line("gate", part, number, "columns", place)
        return None

    def error(self, message: str, *where: str | int) -> ConfigurationError:
        """An error at a key of this file."""
        return ConfigurationError(message, file=self.file, line=self.line(*where))


def _collect_lines(
    node: object, where: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]
) -> None:
    if isinstance(node, CommentedMap):
        places = node.lc.data or {}
        for key, value in node.items():
            if key in places:  # A key that was merged in with << stands elsewhere.
                lines[(*where, key)] = places[key][0] + 1
            _collect_lines(value, (*where, key), lines)
    elif isinstance(node, CommentedSeq):
        places = node.lc.data or {}  # None below a tag.
        for index, value in enumerate(node):
            if index in places:
                lines[(*where, index)] = places[index][0] + 1
            _collect_lines(value, (*where, index), lines)


def _plain(node: object) -> Any:
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):  # ruamel.yaml keeps the notation in subclasses.
        if isinstance(node, kind):
            return kind(node)
    return node


def _key(error: Any, document: Any) -> tuple[str | int, ...]:
    """Where an error stands in the document; pydantic adds the tried type of a union to it."""
    where: list[str | int] = []
    node = document
    for part in error["loc"]:
        if (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int)
        ):
            node = node[part]
            where.append(part)
    if error["type"] == "missing":
        where.append(error["loc"][-1])
    return tuple(where)


def _described(where: tuple[str | int, ...]) -> list[Any]:
    """JSON Schemas of what may stand at ``where``."""
    node: Any = Config.model_json_schema(by_alias=True)
    definitions = node["$defs"]
    for part in where:
        options = [node, *node.get("anyOf", [])]
        options = [definitions[o["$ref"].rpartition("/")[2]] if "$ref" in o else o for o in options]
        following = [
            o["properties"][part] if part in o.get("properties", {}) else o.get(branch)
            for o in options
            for branch in ("items" if isinstance(part, int) else "additionalProperties",)
            if part in o.get("properties", {}) or isinstance(o.get(branch), dict)
        ]
        if not following:
            return []
        node = following[0]
    options = [node, *node.get("anyOf", [])]
    return [definitions[o["$ref"].rpartition("/")[2]] if "$ref" in o else o for o in options]


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Give a sentence with the nearest of the known names, or nothing where none is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""


_MEANT = {  # What pydantic says in Python's words.
    "dict_type": "expected a mapping",
    "list_type": "expected a list",
    "model_type": "expected a mapping",
    "string_type": "expected text",
}


def _explain(error: Any, document: Any) -> tuple[tuple[str | int, ...], str]:
    where = _key(error, document)
    name = ".".join(str(part) for part in where)
    kind = error["type"]
    if kind == "extra_forbidden":
        known = [key for section in _described(where[:-1]) for key in section.get("properties", {})]
        return where, f"Unknown key {name}.{did_you_mean(where[-1], known)}"
    if kind == "missing":
        return where, f"{name} is missing."
    text = error["msg"].removeprefix("Value error, ")
    key, colon, _ = text.partition(":")
    if kind == "value_error" and colon and key.isidentifier():
        # A section's own check begins with the key that it is about.
        return (*where, key), f"{'.'.join([*map(str, where), text])}."
    value = error.get("input")
    if kind == "string_pattern_mismatch":
        asked = _described(where)[0]["description"]
        return where, f"{name}: {value!r} does not fit its description: {asked}"
    text = _MEANT.get(kind, text)
    if value is None:
        return where, f"{name}: {text}, but it is empty."
    if kind == "value_error" or isinstance(value, (dict, list)):
        return where, f"{name}: {text}." if name else f"{text}."
    return where, f"{name}: {text}, not {value!r}."


def impossible_date(text: str) -> int | None:
    """The line of the first date in a text that no calendar has."""
    for number, line in enumerate(text.splitlines(), start=1):
        for found in re.findall(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b", line):
            try:
                datetime.date.fromisoformat(found)
            except ValueError:
                return number
    return None


def said_of_yaml(problem: Any) -> str:
    """Give what a YAML reader says is wrong; some of it is the second half of a sentence."""
    words = str(getattr(problem, "problem", None) or problem)
    return f"{problem.context}, {words}" if words.startswith("but ") else words


def load(path: Path) -> Project:
    """Read and check ``mlops.yaml``.

    Raises :class:`ConfigurationError` with the line of the first thing that is wrong, and lists
    the others under it.
    """
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace and not path.resolve().is_relative_to(Path(workspace).resolve()):
        raise ConfigurationError("The configuration is outside the repository.", file=path)
    return _read(path, "There is no such file; name it with --config (input: config).")


def load_elsewhere(path: Path) -> Project:
    """Read the configuration of another commit, checked out outside the workspace."""
    return _read(path, "That commit has no such file.")


def _read(path: Path, missing: str) -> Project:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(missing, file=path) from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError(f"Cannot be read: {problem}.", file=path) from None
    return parse(text, path)


def parse(text: str, path: Path) -> Project:
    """Check the text of a configuration; ``path`` is what errors and paths refer to."""
    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = False
    try:
        document = yaml.load(text)
    except RecursionError:
        raise ConfigurationError("Nested too deeply.", file=path) from None
    except MarkedYAMLError as problem:
        mark = problem.problem_mark
        raise ConfigurationError(
            f"Not valid YAML: {said_of_yaml(problem)}.",
            file=path,
            line=mark.line + 1 if mark else None,
        ) from None
    except YAMLError as problem:
        raise ConfigurationError(f"Not valid YAML: {problem}.", file=path) from None
    except ValueError as problem:  # A date that no calendar has.
        raise ConfigurationError(
            f"Not valid YAML: {problem}.", file=path, line=impossible_date(text)
        ) from None
    if not isinstance(document, dict):
        empty = "; the file is empty" if document is None else ""
        raise ConfigurationError(f"Expected a mapping of settings{empty}.", file=path, line=1)
    lines: dict[tuple[str | int, ...], int] = {}
    _collect_lines(document, (), lines)
    try:
        plain = _plain(document)
        config = Config.model_validate(plain)
    except ValidationError as problem:
        # A union reports each of its members; what got furthest says what is wrong.
        found: dict[tuple[str | int, ...], str] = {}
        for error in problem.errors(include_url=False):
            found.setdefault(*_explain(error, plain))
        found = {
            where: message
            for where, message in found.items()
            if not any(other[: len(where)] == where != other for other in found)
        }
        project = Project(config=None, file=path, lines=lines)  # type: ignore[arg-type]
        placed = [(project.line(*where) or 1, message) for where, message in found.items()]
        (line, first), *others = sorted(placed)
        more = "".join(f"\n  line {number}: {message}" for number, message in others)
        raise ConfigurationError(first + more, file=path, line=line) from None
    return Project(config=config, file=path, lines=lines)


def json_schema() -> str:
    """Give the JSON Schema of ``mlops.yaml``, as published in ``mlops.schema.json``."""
    schema = Config.model_json_schema(by_alias=True)
    return (
        json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": SCHEMA_URL,
                **schema,
                "title": "mlops.yaml",
            },
            indent=2,
        )
        + "\n"
    )
