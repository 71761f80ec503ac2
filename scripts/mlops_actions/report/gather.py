"""From the documents of a run to what a report shows.

A document that cannot be read is a finding of its own: the verdict is then never better than
inconclusive. The keys are those that the stages write.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlops_actions import evidence
from mlops_actions.errors import Failure
from mlops_actions.report import drawn, tables
from mlops_actions.report.findings import (
    GOOD,
    NOTHING,
    STAGES,
    STATUSES,
    Check,
    Comparison,
    EvaluationSet,
    Fact,
    Findings,
    Gap,
    Training,
)
from mlops_actions.report.reading import (
    Interval,
    duration,
    items,
    line,
    mapping,
    moment,
    number,
    objects,
    plain_number,
    shown,
    text,
    whole,
)

DOCUMENTS = (*STAGES, "data", "profile")
BASELINE_PROFILE = "baseline_profile"
Documents = Mapping[str, Mapping[str, Any]]

_LARGEST_DOCUMENT = 32 << 20  # Bytes; ours are a hundredth of it.
_MOST_EXAMPLES = 10
_MOST_COLUMNS = 12  # Of one example row.


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
        columns=drawn.columns(
            found.get("profile", {}),
            found.get(BASELINE_PROFILE, {}),
            mapping(found.get("validate", {}).get("distances")),
            hidden,
        ),
        curves=drawn.curves(gate),
        tables=tables.tables(gate, checks),
    )


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
        observed=shown(item.get("observed")),
        required=shown(item.get("required")),
        message=text(item.get("message")),
        set=text(item.get("set")),
        file=text(item.get("file")),
        rule=text(item.get("rule")),
        metric=text(item.get("metric")),
        slice=text(item.get("slice")),
        guardrail=item.get("guardrail") is True,
        value=Interval.of(interval) if "rule" in item or "low" in item else None,
        found=number(item.get("observed")),
        rows=whole(item.get("rows")),
        bound=number(item.get("required")),
        columns=tuple(line(column, 60) for column in columns),
        examples=tuple(
            tuple(text(row.get(column)) for column in columns) for row in examples if columns
        ),
    )


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
        ratio=item.get("kind") == "ratio",
        detectable_loss=number(item.get("detectable_loss")),
        status=status if status in STATUSES else "inconclusive",
        metrics=tuple(line(key, 60) for key in metrics),
        groups=tuple(
            (
                text(one.get("name")) or NOTHING,
                shown(one.get("rows")) or NOTHING,
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
        said = text(value)
        if said is not None and all(fact.name != name for fact in facts):
            facts.append(Fact(name=name, value=said, code=code))

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
