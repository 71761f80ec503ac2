"""What the documents of a run say, read with distrust.

Some of them were written in a job that also ran user code. So a value of the wrong type is left
out instead of trusted, every text becomes one printable line, lists have an end, and a document
that cannot be read is a finding of its own: the verdict is then never better than inconclusive.

The keys are those that the stages write. Two of ``gate.json`` are drawn when they are there:
``calibration``, a list of ``{"set", "model", "bins": [{"predicted", "observed", "low", "high"}]}``,
and ``curves``, a list of ``{"set", "model", "name", "x", "y", "x_label", "y_label"}``.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_actions import evidence
from mlops_actions.errors import Failure

if TYPE_CHECKING:
    from mlops_actions.report.tables import Table

STAGES = ("validate", "train", "score", "gate")
DOCUMENTS = (*STAGES, "data", "profile")
BASELINE_PROFILE = "baseline_profile"
NOTHING = "\N{EN DASH}"  # What stands where there is nothing to show.
GOOD = frozenset({"passed", "blessed", "unchanged"})
STATUSES = ("fail", "inconclusive", "pass", "skipped")  # In the order they are shown.

_LARGEST_DOCUMENT = 32 << 20  # Bytes; ours are a hundredth of it.
_LONGEST_TEXT = 400
_MOST = 2_000  # Items of one list.
_MOST_EXAMPLES = 10
_MOST_COLUMNS = 12  # Of one example row.
_DRAWABLE = 1e15  # A larger number has no place on an axis.
_SPACE = re.compile(r"\s+")
# Controls, and what would turn the direction of the text around it.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)

Documents = Mapping[str, Mapping[str, Any]]


def line(value: object, longest: int = _LONGEST_TEXT) -> str:
    """Make one printable line of a value."""
    text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _SPACE.sub(" ", str(value)).strip())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def text(value: object) -> str | None:
    """Read a scalar as one line; anything else is ``None``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        try:
            return line(value) or None
        except ValueError:  # An integer of thousands of digits.
            return None
    return plain_number(value) if isinstance(value, float) else None


def number(value: object) -> float | None:
    """Read a number, also one that JSON has no word for."""
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(str(value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def whole(value: object) -> int | None:
    """Read a count."""
    found = number(value)
    return int(found) if found is not None and math.isfinite(found) else None


def mapping(value: object) -> Mapping[str, Any]:
    """Read an object; anything else is an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """Read a list, up to its 2,000th item; anything else is an empty one."""
    return list(value[:_MOST]) if isinstance(value, (list, tuple)) else []


def objects(value: object) -> Iterator[Mapping[str, Any]]:
    """Read the objects of a list."""
    return (item for item in items(value) if isinstance(item, Mapping))


def plain_number(value: float, decimals: int | None = None) -> str:
    """Write a number for people: ``0.0123``, ``48,211``, ``NaN``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if decimals is None:
        if value == round(value) and abs(value) < 1e15:  # noqa: PLR2004 - exact in a float.
            return f"{value:,.0f}"
        if not 1e-4 <= abs(value) < 1e6:  # noqa: PLR2004
            return f"{value:.3g}"
        decimals = max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:,.{decimals}f}".rstrip("0").rstrip(".")
    shown = f"{value:,.{decimals}f}"
    return shown.removeprefix("-") if float(shown.replace(",", "")) == 0 else shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and its bounds, in the metric's units."""

    estimate: float
    low: float
    high: float

    @classmethod
    def of(cls, value: object) -> Interval | None:
        """Read an interval; a missing bound is NaN, never the estimate."""
        found = mapping(value)
        estimate = number(found.get("estimate"))
        if estimate is None:
            return None
        low, high = number(found.get("low")), number(found.get("high"))
        return cls(
            estimate=estimate,
            low=math.nan if low is None else low,
            high=math.nan if high is None else high,
        )

    @property
    def decimals(self) -> int:
        """Enough decimals for at least five steps from low to high."""
        width = self.high - self.low
        if not (math.isfinite(width) and width > 0):
            return 4
        return min(8, max(0, -math.floor(math.log10(width / 5))))

    @property
    def finite(self) -> bool:
        """Whether it can be drawn."""
        return all(math.isfinite(value) for value in (self.estimate, self.low, self.high))

    def __str__(self) -> str:
        """Give ``0.7412 (0.7301 to 0.7523)``."""
        if math.isnan(self.low) and math.isnan(self.high):
            return f"{plain_number(self.estimate)} (no interval)"
        estimate, low, high = (
            plain_number(value, self.decimals) for value in (self.estimate, self.low, self.high)
        )
        return f"{estimate} ({low} to {high})"


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gap:
    """A rule of fairness, with its groups as texts: name, rows, the metrics' values."""

    set: str
    columns: str
    rule: str
    candidate: Interval | None
    champion: Interval | None
    requirement: str | None
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
    """Points to draw for one model: a reliability curve, or any other."""

    title: str
    model: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    diagonal: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fact:
    """A line of a table of facts. ``code`` is shown as it would be typed."""

    name: str
    value: str
    code: bool = False


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


def read(
    folder: Path, *, gate: Path | None = None, baseline: Path | None = None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Read the documents of a run that exist; give them, and what is wrong with the others.

    ``gate`` is ``gate.json`` where it does not lie in ``folder``; ``baseline`` is the folder with
    the baseline's ``profile.json``.
    """
    files = {name: folder / f"{name}.json" for name in DOCUMENTS}
    if gate is not None:
        files["gate"] = gate
    if baseline is not None:
        places = (baseline / "profile.json", baseline / "evidence" / "profile.json")
        files[BASELINE_PROFILE] = next((path for path in places if path.exists()), places[0])
    documents: dict[str, dict[str, Any]] = {}
    problems = []
    for name, path in files.items():
        if not path.exists() and not path.is_symlink():
            continue
        try:
            documents[name] = _read(path, name)
        except Failure as failure:
            problems.append(f"{path.name} cannot be read: {line(failure.message)}")
        except (OSError, ValueError, RecursionError) as problem:
            problems.append(f"{path.name} cannot be read: {type(problem).__name__}.")
    return documents, problems


def _read(path: Path, name: str) -> dict[str, Any]:
    if path.is_symlink() or not path.is_file():
        raise Failure("Not a plain file.")
    if path.stat().st_size > _LARGEST_DOCUMENT:
        raise Failure("Too large for a document of ours.")
    if name in STAGES:
        evidence.read(path, name)
    return evidence.read_json(path)


def predicate(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The predicate of a statement; a predicate is its own."""
    return mapping(document["predicate"]) if "predicate" in document else document


def gather(
    documents: Documents,
    *,
    title: str | None = None,
    problems: Collection[str] = (),
    warnings: Collection[str] = (),
    sensitive: Collection[str] = (),
) -> Findings:
    """Read documents, by name, into what a report shows; see the module for their keys."""
    found = {name: predicate(mapping(document)) for name, document in documents.items()}
    gate, data = found.get("gate", {}), found.get("data", {})
    train = found.get("train", {})
    hidden = frozenset(sensitive)
    stages = tuple(
        (name, text(found[name].get("verdict")) or "inconclusive")
        for name in STAGES
        if name in found
    )
    stage, verdict = _verdict(dict(stages), unreadable=bool(problems))
    checks = [
        _check(item, name, hidden)
        for name in STAGES
        for item in objects(found.get(name, {}).get("checks"))
    ]
    checks.sort(key=lambda check: STATUSES.index(check.status))
    ruled = [check for check in checks if check.rule]
    sets = _sets(data, gate)
    shared = gate.get("shared_evaluation") is True or data.get("shared_evaluation") is True
    policy = mapping(gate.get("policy"))
    mode = text(policy.get("mode")) or "enabled"
    baseline = _baseline(gate.get("baseline"))
    bootstrap = gate.get("bootstrap") is True
    return Findings(
        model=line(title or "", 100)
        or text(gate.get("model"))
        or text(train.get("model"))
        or "model",
        verdict=verdict,
        stage=stage,
        mode=mode,
        smoke=gate.get("mode") == "smoke" or train.get("mode") == "smoke",
        bootstrap=bootstrap,
        baseline=baseline,
        stages=stages,
        problems=tuple(line(problem) for problem in problems),
        checks=tuple(checks),
        metrics=_ranked(_comparison(item, ruled) for item in objects(gate.get("metrics"))),
        slices=_ranked(_comparison(item, ruled) for item in objects(gate.get("slices"))),
        fairness=tuple(_gap(item) for item in objects(gate.get("fairness"))),
        mutants=tuple(
            (name, item.get("noticed") is True)
            for item in objects(gate.get("self_test"))
            if (name := text(item.get("name")))
        ),
        calibration=tuple(
            (text(item.get("set")) or NOTHING, text(item.get("model")) or NOTHING, error)
            for item in objects(gate.get("calibration"))
            if (error := number(item.get("expected_calibration_error"))) is not None
        ),
        override=bool(mapping(gate.get("override"))),
        training=_training(data),
        sets=sets,
        shared_evaluation=shared,
        warnings=_warnings(
            found, warnings, mode=mode, shared=shared, bootstrap=bootstrap, sets=sets
        ),
        facts=_facts(train, mapping(documents.get("train")), data),
        parameters=tuple(
            Fact(name=line(key, 100), value=text(value) or NOTHING, code=True)
            for key, value in sorted(mapping(train.get("params")).items(), key=lambda p: str(p[0]))
        )[:200],
        policy=tuple(
            Fact(
                name=line(key, 100).replace("_", " "), value=str(text(value)), code=key == "digest"
            )
            for key, value in policy.items()
            if text(value) is not None
        ),
        evidence=_evidence(documents, sets),
        columns=_columns(
            found.get("profile", {}),
            found.get(BASELINE_PROFILE, {}),
            mapping(found.get("validate", {}).get("distances")),
            hidden,
        ),
        curves=_curves(gate),
        tables=_tables(gate, checks),
    )


def _tables(gate: Mapping[str, Any], checks: Collection[Check]) -> tuple[Table, ...]:
    from mlops_actions.report import tables  # It reads with what stands here.

    return tables.tables(gate, checks)


def _verdict(stages: Mapping[str, str], *, unreadable: bool) -> tuple[str | None, str]:
    # The gate's word stands: it has looked at the others. A chain that ends before it has shown
    # nothing, so it is never good.
    if "gate" in stages:
        return "gate", stages["gate"]
    for stage, verdict in stages.items():
        if verdict not in GOOD:
            return stage, verdict
    if not unreadable and stages.get("train") == "unchanged":
        return "train", "unchanged"
    return None, "inconclusive"


def _check(item: Mapping[str, Any], stage: str, hidden: frozenset[str]) -> Check:
    status = text(item.get("status"))
    examples = [row for row in objects(item.get("examples")) if row][:_MOST_EXAMPLES]
    columns = [
        str(column)
        for column in dict.fromkeys(key for row in examples for key in row)
        if column not in hidden
    ][:_MOST_COLUMNS]
    interval = {"estimate": item.get("observed"), "low": item.get("low"), "high": item.get("high")}
    return Check(
        stage=stage,
        name=text(item.get("name")) or "unnamed check",
        # An unknown word is never a pass.
        status=status if status in STATUSES else "inconclusive",
        observed=_shown(item.get("observed")),
        required=_shown(item.get("required")),
        message=text(item.get("message")),
        set=text(item.get("set")),
        file=text(item.get("file")),
        rule=text(item.get("rule")),
        metric=text(item.get("metric")),
        slice=text(item.get("slice")),
        guardrail=item.get("guardrail") is True,
        value=Interval.of(interval) if "rule" in item else None,
        bound=number(item.get("required")),
        columns=tuple(line(column, 60) for column in columns),
        examples=tuple(
            tuple(text(row.get(column)) for column in columns) for row in examples if columns
        ),
    )


def _shown(value: object) -> str | None:
    found = whole(value) if isinstance(value, int) and not isinstance(value, bool) else None
    return text(value) if found is None else f"{found:,}"


def moment(value: object) -> str | None:
    """Write a moment for people: ``2013-09-30 23:00 UTC``; what is none stays as it is."""
    shown = text(value)
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(.*))?", shown or "")
    if not found:
        return shown
    day, clock, zone = found.groups()
    zone = {"+00:00": " UTC", "Z": " UTC"}.get(zone or "", zone or "")
    return f"{day} {clock}{zone}" if clock else day


def _comparison(item: Mapping[str, Any], checks: Collection[Check]) -> Comparison:
    own = {
        check.rule: check.bound
        for check in checks
        if (check.set, check.metric, check.slice)
        == (text(item.get("set")), text(item.get("metric")), text(item.get("slice")))
    }
    anchored = item.get("against") == "anchor"
    margin = own.get("anchor" if anchored else "non_inferiority_margin")
    status = text(item.get("status"))
    better = item.get("greater_is_better")
    return Comparison(
        set=text(item.get("set")) or NOTHING,
        slice=text(item.get("slice")),
        rows=whole(item.get("rows")),
        groups=whole(item.get("groups")),
        metric=text(item.get("metric")) or NOTHING,
        greater_is_better=better if isinstance(better, bool) else None,
        candidate=Interval.of(item.get("candidate")),
        champion=Interval.of(item.get("champion")),
        difference=Interval.of(item.get("difference")),
        requirement=text(item.get("requirement")),
        required=item.get("required") is True,
        value_limit=None if anchored else own.get("threshold"),
        difference_limit=own.get("min_absolute_change")
        if margin is None and not anchored
        else margin,
        status=status if status in STATUSES else "inconclusive",
        method=text(item.get("method")),
        reason=text(item.get("reason")),
        anchored=anchored,
        detectable_loss=number(item.get("detectable_loss")),
    )


def _ranked(comparisons: Iterator[Comparison]) -> tuple[Comparison, ...]:
    return tuple(sorted(comparisons, key=lambda one: STATUSES.index(one.status)))


def _gap(item: Mapping[str, Any]) -> Gap:
    groups = list(objects(item.get("groups")))
    metrics = list(dict.fromkeys(key for one in groups for key in one if key not in _GROUP))[:6]
    status = text(item.get("status"))

    def value(one: Mapping[str, Any], key: str) -> str:
        found = number(one.get(key))
        return NOTHING if found is None else plain_number(found, 3)

    return Gap(
        set=text(item.get("set")) or NOTHING,
        columns=text(item.get("columns")) or NOTHING,
        rule=text(item.get("rule")) or NOTHING,
        candidate=Interval.of(item.get("candidate")),
        champion=Interval.of(item.get("champion")),
        requirement=text(item.get("requirement")),
        status=status if status in STATUSES else "inconclusive",
        metrics=tuple(line(key, 60) for key in metrics),
        groups=tuple(
            (
                text(one.get("name")) or NOTHING,
                _shown(one.get("rows")) or NOTHING,
                *(value(one, key) for key in metrics),
            )
            for one in groups
        ),
    )


_GROUP = frozenset(("name", "rows"))


def _baseline(value: object) -> str | None:
    found = mapping(value)
    version = text(found.get("version"))
    if not version:
        return None
    return f"the {text(found.get('alias')) or 'baseline'} (version {version})"


def _training(data: Mapping[str, Any]) -> Training | None:
    found = mapping(data.get("training"))
    if not found:
        return None
    return Training(
        path=text(found.get("path")),
        rows=whole(found.get("rows")),
        cutoff=moment(found.get("cutoff")),
        digest=text(found.get("digest")),
        files=len(items(found.get("files"))),
    )


def _sets(data: Mapping[str, Any], gate: Mapping[str, Any]) -> tuple[EvaluationSet, ...]:
    manifest, judged = mapping(data.get("evaluation")), mapping(gate.get("evaluation"))
    result = []
    for name in [*dict.fromkeys([*manifest, *judged])][:20]:
        described, used = mapping(manifest.get(name)), mapping(judged.get(name))
        overlap = mapping(described.get("overlap"))
        rows = whole(used.get("rows"))
        result.append(
            EvaluationSet(
                name=line(name, 60),
                path=text(described.get("path")),
                rows=whole(described.get("rows")) if rows is None else rows,
                groups=whole(used.get("groups")),
                first=moment(described.get("first")),
                last=moment(described.get("last")),
                digest=text(used.get("digest")) or text(described.get("digest")),
                key_overlap=whole(overlap.get("keys")),
                content_overlap=whole(overlap.get("content")),
                judged=name in judged,
            )
        )
    return tuple(result)


def _warnings(
    found: Mapping[str, Mapping[str, Any]],
    more: Collection[str],
    *,
    mode: str,
    shared: bool,
    bootstrap: bool,
    sets: tuple[EvaluationSet, ...],
) -> tuple[str, ...]:
    result = []
    told = bool(items(found.get("gate", {}).get("warnings")))  # The gate's own words.
    if mode != "enabled" and not told:
        result.append(f"This verdict stops nothing: gate.mode is {mode}.")
    if bootstrap and not told:
        result.append("There is no champion to compare with, and gate.bootstrap allows that.")
    if shared:
        result.append(
            "One file is all three evaluation sets: what was used for choosing a model also "
            "decides, so its figures flatter."
        )
    result += [
        f"{one.key_overlap:,} rows of {one.name} have an id that also occurs in training."
        for one in sets
        if one.key_overlap
    ]
    result += [line(warning) for warning in more]
    for name in STAGES:
        result += [
            str(text(item["message"]))
            for item in objects(found.get(name, {}).get("checks"))
            if item.get("status") == "pass" and text(item.get("message")) and name == "validate"
        ]
        result += [line(item) for item in items(found.get(name, {}).get("warnings")) if text(item)]
    return tuple(dict.fromkeys(result))[:100]


_TRAIN_FACTS = {
    "mode": ("Mode", False),
    "command": ("Command", True),
    "sample": ("Sample", False),
    "seed": ("Seed", False),
    "unchanged_version": ("Same pipeline as version", False),
    "run_id": ("MLflow run", True),
    "pipeline_digest": ("Pipeline", True),
    "training_data": ("Training data", True),
}


def _facts(
    train: Mapping[str, Any], statement: Mapping[str, Any], data: Mapping[str, Any]
) -> tuple[Fact, ...]:
    facts: list[Fact] = []
    if not train:
        return ()

    def add(name: str, value: object, *, code: bool = False) -> None:
        shown = text(value)
        if shown is not None and all(fact.name != name for fact in facts):
            facts.append(Fact(name=name, value=shown, code=code))

    for key, (name, code) in _TRAIN_FACTS.items():
        add(name, train.get(key), code=code)
        seconds = number(train.get("seconds")) if key == "command" else None
        if seconds is not None and math.isfinite(seconds):
            add("Duration", duration(seconds))
    add("Training data", mapping(data.get("training")).get("digest"), code=True)
    for item in objects(statement.get("subject")):
        if item.get("name") == "model":
            add("Model", mapping(item.get("digest")).get("sha256"), code=True)
    environment = mapping(train.get("environment"))
    add("Lock file", environment.get("lock"), code=True)
    add("Python", environment.get("python"))
    source = mapping(train.get("source"))
    add("Git commit", source.get("commit"), code=True)
    add("Git ref", source.get("ref"), code=True)
    for path, digest in list(mapping(train.get("data_version")).items())[:30]:
        add(f"DVC: {line(path, 80)}", digest, code=True)
    return tuple(facts)


def _evidence(documents: Documents, sets: tuple[EvaluationSet, ...]) -> tuple[Fact, ...]:
    facts = [
        Fact(name=f"evaluation set {one.name}", value=one.digest, code=True)
        for one in sets
        if one.digest
    ]
    for name in STAGES:
        for item in objects(predicate(mapping(documents.get(name))).get("previous")):
            digest = text(mapping(item.get("digest")).get("sha256"))
            if digest and text(item.get("name")):
                facts.append(Fact(name=str(text(item["name"])), value=digest, code=True))
    for name in reversed(STAGES):
        last = predicate(mapping(documents.get(name)))
        tool = mapping(last.get("tool"))
        if text(tool.get("version")):
            facts.append(Fact(name="mlops-actions", value=str(text(tool["version"]))))
            if text(tool.get("commit")):
                facts.append(
                    Fact(name="Commit of mlops-actions", value=str(text(tool["commit"])), code=True)
                )
            if text(last.get("created")):
                facts.append(Fact(name="Made", value=str(moment(last["created"]))))
            break
    return tuple(dict.fromkeys(facts))


def duration(seconds: float) -> str:
    """Write seconds for people: ``42.3 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _by_name(value: object) -> dict[str, Mapping[str, Any]]:
    pairs = list(mapping(value).items())[:_MOST]
    return {name: item for name, item in pairs if isinstance(item, Mapping)}


def _histogram(column: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give edges and counts, with the open outermost bars made as wide as the others.

    A profile counts the values up to each edge since the edge before, and those above the last.
    """
    found = mapping(column.get("histogram"))
    edges = [value for item in items(found.get("edges")) if (value := number(item)) is not None]
    counts = [number(item) for item in (*items(found.get("counts")), found.get("above"))]
    sizes = [value for value in counts if value is not None]
    if (
        not edges
        or len(sizes) != len(edges) + 1
        or len(counts) != len(sizes)
        or not all(abs(value) < _DRAWABLE for value in (*edges, *sizes))
        or any(b <= a for a, b in itertools.pairwise(edges))
    ):
        return (), ()
    step = edges[1] - edges[0] if len(edges) > 1 else 1.0
    return (edges[0] - step, *edges, edges[-1] + step), tuple(sizes)


def _categories(column: Mapping[str, Any]) -> dict[str, float]:
    result = {}
    for item in objects(column.get("categories")):
        size, label = number(item.get("count")), text(item.get("value"))
        if size is not None and 0 <= size < _DRAWABLE:
            result["(empty)" if label is None else label] = size
    return result


_MOST_BARS = 12


def _columns(
    profile: Mapping[str, Any],
    baseline: Mapping[str, Any],
    distances: Mapping[str, Any],
    hidden: frozenset[str],
) -> tuple[Column, ...]:
    before = _by_name(baseline.get("columns"))
    result = []
    for name, column in _by_name(profile.get("columns")).items():
        if name in hidden:
            continue
        edges, counts = _histogram(column)
        old_edges, old_counts = _histogram(before.get(name, {})) if edges else ((), ())
        labels: tuple[str, ...] = ()
        if not edges:
            labels, counts, old_counts = _bars(
                _categories(column), _categories(before.get(name, {}))
            )
        if not counts:
            continue
        distance = mapping(distances.get(name))
        result.append(
            Column(
                name=line(name, 60),
                labels=labels,
                edges=edges,
                counts=counts,
                baseline_edges=old_edges,
                baseline_counts=old_counts,
                nulls=whole(column.get("nulls")),
                rows=whole(column.get("rows")),
                distance=number(distance.get("distance")),
                ordinary=number(mapping(distance.get("ordinary")).get("maximum")),
            )
        )
    return tuple(result)


def _bars(
    now: Mapping[str, float], then: Mapping[str, float]
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]:
    """Give labels, counts and the baseline's counts, the smallest categories as one."""
    ordered = sorted({*now, *then}, key=lambda key: (-now.get(key, 0), -then.get(key, 0), key))
    groups = [[key] for key in ordered]
    labels = [line(key, 24) for key in ordered]
    if len(ordered) > _MOST_BARS:
        rest = ordered[_MOST_BARS - 1 :]
        groups = [*groups[: _MOST_BARS - 1], rest]
        labels = [*labels[: _MOST_BARS - 1], f"{len(rest):,} others"]
    counts = tuple(sum(now.get(key, 0) for key in group) for group in groups)
    old = tuple(sum(then.get(key, 0) for key in group) for group in groups) if then else ()
    return tuple(labels), counts, old


def _points(values: object, key: str) -> tuple[float, ...]:
    found = (number(item.get(key)) for item in objects(values))
    return tuple(math.nan if value is None else value for value in found)


def _numbers(values: object) -> tuple[float, ...]:
    found = (number(value) for value in items(values))
    return tuple(math.nan if value is None else value for value in found)


def _curves(gate: Mapping[str, Any]) -> tuple[Curve, ...]:
    result = []
    for item in objects(gate.get("calibration")):
        bins = item.get("bins")
        result.append(
            Curve(
                title=f"Reliability on {text(item.get('set')) or 'the evaluation set'}",
                model=text(item.get("model")) or "candidate",
                x_label="Predicted probability",
                y_label="Observed share",
                x=_points(bins, "predicted"),
                y=_points(bins, "observed"),
                low=_points(bins, "low"),
                high=_points(bins, "high"),
                diagonal=True,
            )
        )
    for item in objects(gate.get("curves")):
        name = text(item.get("name")) or "Curve"
        result.append(
            Curve(
                title=f"{name} on {text(item.get('set')) or 'the evaluation set'}",
                model=text(item.get("model")) or "candidate",
                x_label=text(item.get("x_label")) or "",
                y_label=text(item.get("y_label")) or "",
                x=_numbers(item.get("x")),
                y=_numbers(item.get("y")),
                low=(),
                high=(),
                diagonal=name.upper().startswith("ROC"),
            )
        )
    return tuple(
        curve
        for curve in result
        if curve.x
        and len(curve.x) == len(curve.y)
        and all(abs(value) < _DRAWABLE for value in (*curve.x, *curve.y) if not math.isnan(value))
    )[:20]
