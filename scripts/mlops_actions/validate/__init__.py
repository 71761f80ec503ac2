"""Check the data against its schema, profile it, and fix the digests that training is held to."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlops_actions import config as configuration
from mlops_actions import evidence, github
from mlops_actions.config import EVALUATION_SETS, Config, EvaluationSet, Project, did_you_mean
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.project import (
    Environment,
    prepare,
    pull_data,
    run_command,
    run_data_command,
)
from mlops_actions.registry.baseline import DOCUMENT as BASELINE
from mlops_actions.scope import prepared_sets
from mlops_actions.validate import manifest, profile, schema, source
from mlops_actions.validate.content import ContentChecker, as_time, time_range
from mlops_actions.validate.examples import Shown
from mlops_actions.validate.keys import Overlap
from mlops_actions.validate.source import Source

TRAINING = "training"
ANNOTATIONS = 10  # GitHub shows ten of a step; the rest are counted.

# What the folder gets: of this stage, then of train and score, which are handed the same folder.
_RESULTS = {
    "validate.json", "data.json", "profile.json", "evaluation",
    "train.json", "run", "score.json", "predictions", "latency.json", "golden.json", "probe",
}  # fmt: skip

RunInProject = Callable[[list[str]], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What validation found: the verdict, and the evidence as written."""

    verdict: str
    document: dict[str, Any]

    @property
    def checks(self) -> list[evidence.Check]:
        """Every check."""
        checks: list[evidence.Check] = self.document["predicate"]["checks"]
        return checks


@dataclasses.dataclass(kw_only=True)
class _Dataset:
    """One setting of mlops.yaml, and the names it goes by."""

    path: str
    where: tuple[str, ...]
    roles: list[str]
    opened: Source | None = None
    newest: datetime.datetime | None = None
    sampler: profile.Sampler | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--baseline", type=Path, help="folder that `registry fetch` wrote")
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        choices=EVALUATION_SETS,
        help="evaluation set to check; by default those that the event needs",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; give its exit code."""
    from mlops_actions.gate.decision import choose

    project = configuration.load(args.config)
    choose(project)  # A metric that does not exist is said before anything is computed.
    if project.config.smoke is not None:
        from mlops_actions.gate.smoke import metric_of

        metric_of(project)
    _clear(project, args.output)
    try:
        result = _validate(project, args)
    except Failure as failure:
        _write_problem(args.output, failure)
        raise
    github.set_output("verdict", result.verdict)
    github.set_output("digest", evidence.sha256_file(args.output / "validate.json"))
    return 0 if result.verdict == "passed" else 1


def _validate(project: Project, args: argparse.Namespace) -> Result:
    """Let the data be made, where the project does that, and look at it."""
    kept = _kept_profile(args.baseline)
    needs_project = project.config.data.command or _schema(project)[1]
    environment = prepare(project) if needs_project else None
    if environment is not None:
        pull_data(project, environment)
        limit = configuration.parse_duration(project.config.train.timeout).total_seconds()
        run_data_command(project, environment, limit)
    return validate_project(
        project,
        args.output,
        baseline_profile=kept,
        sets=args.sets or prepared_sets(project),
        run_in_project=None if environment is None else _runner(project, environment),
    )


def _kept_profile(folder: Path | None) -> Path | None:
    """Give the place of the baseline's profile; ``None`` where there is no baseline."""
    if folder is None:
        return None
    document = folder / BASELINE
    if not document.is_file():
        raise ConfigurationError(
            f"There is no {BASELINE}: --baseline is the folder that `registry fetch` wrote.",
            file=folder,
        )
    found = evidence.read_json(document).get("baseline")
    return None if found is None else folder / "evidence" / "profile.json"


def _clear(project: Project, output: Path) -> None:
    """Empty the folder that an earlier call made; refuse to take away anything else."""
    if not output.exists():
        return
    if not output.is_dir():
        raise ConfigurationError("The output is a file, not a folder.", file=output)
    place, data = output.resolve(), project.config.data
    evaluation = [data.evaluation_path(name) for name in EVALUATION_SETS]
    kept = [project.folder, Path.cwd()]
    for named in filter(None, (data.training, *evaluation)):
        for path in source.matches(project.folder, named):
            kept += [path, path.parent]  # A file may be a link to a cache elsewhere.
    if any(path.resolve().is_relative_to(place) for path in kept):
        raise ConfigurationError(
            "The output would replace the project itself, its data, or the working directory.",
            file=output,
        )
    held = list(output.iterdir())
    foreign = sorted(path.name for path in held if path.name not in _RESULTS)
    if foreign:
        raise ConfigurationError(
            f"The output holds what is no result, such as {foreign[0]}: name another folder.",
            file=output,
        )
    for path in held:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _write_problem(output: Path, failure: Failure) -> None:
    """Leave evidence of why the data was not judged, for the report.

    A setting that names no file or no schema is an answer; data that could not be had is none.
    """
    wrong = isinstance(failure, ConfigurationError)
    name = "configuration" if wrong else "data"
    status: evidence.Status = "fail" if wrong else "inconclusive"
    document = evidence.statement(
        "validate",
        "failed",
        [evidence.check(name, status, message=str(failure))],
        subjects=[],
    )
    output.mkdir(parents=True, exist_ok=True)
    digest = evidence.write_json(output / "validate.json", document)
    github.set_output("verdict", "failed")
    github.set_output("digest", digest)


def _runner(project: Project, environment: Environment) -> RunInProject:
    def run_in_project(words: list[str]) -> None:
        command = [str(environment.python), *words]
        run_command(environment, command, cwd=project.folder, label="Schema", timeout=3600)

    return run_in_project


def validate_project(
    project: Project,
    output: Path,
    *,
    baseline_profile: Path | None = None,
    sets: Sequence[EvaluationSet],
    run_in_project: RunInProject | None = None,
) -> Result:
    """Validate the training data and the evaluation ``sets``; write the results to ``output``.

    Writes ``validate.json`` always, ``profile.json`` when the training data can be read, and
    ``data.json`` with ``evaluation/<set>.parquet`` when all of it can be. ``baseline_profile`` is
    the baseline's ``profile.json``; one that does not exist is said and passed over.
    ``run_in_project`` runs ``[script, argument, …]`` by the project environment's Python in the
    folder of ``mlops.yaml`` and raises when that fails; it is needed only for a schema that is a
    Python object.

    Raises :class:`ConfigurationError` when a setting names no file, or a schema cannot be read.
    Bad data is no error: it is the verdict ``failed``.
    """
    config = project.config
    rule = Shown(identifier=config.id, sensitive=frozenset(config.sensitive))
    datasets = _datasets(project, sets)
    found = {data.path: source.find(project, data.path, *data.where) for data in datasets}
    yaml_schema, python_schema = _schema(project)
    if python_schema is not None and run_in_project is None:
        raise project.error(
            f"The schema {python_schema} is Python: it needs the project environment.",
            "data", "schema",
        )  # fmt: skip
    baseline = _baseline(baseline_profile)
    output.mkdir(parents=True, exist_ok=True)
    _remove_earlier(output)
    checks: list[evidence.Check] = []
    with tempfile.TemporaryDirectory(prefix="mlops-validate-") as folder:
        scratch = Path(folder)
        text = schema.text_columns(yaml_schema) if yaml_schema is not None else set()
        for number, data in enumerate(datasets):
            place = scratch / str(number)
            place.mkdir()
            try:
                data.opened = source.open_files(
                    project, data.path, found[data.path], scratch=place, text=text
                )
            except Failure as failure:
                checks.append(_unreadable(failure, data))
        checks += _sensitive(project, datasets)
        overlaps = _overlaps(datasets, config)
        # Evaluation first: the training rows are then compared with it as they go by.
        for data in sorted(datasets, key=lambda item: TRAINING in item.roles):
            if data.opened is None:
                continue
            try:
                made = _check(project, data, data.opened, rule, yaml_schema, baseline, overlaps)
            except Failure as failure:
                data.opened = None
                checks.append(_unreadable(failure, data))
                continue
            if python_schema is not None and run_in_project is not None:
                from mlops_actions.validate import project_schema

                made += project_schema.checks(
                    project, python_schema, data.opened, rule, scratch, run_in_project
                )
            checks += [_of(check, data) for check in made]
        document = _conclude(
            project, output, datasets, sets, checks, overlaps, baseline, baseline_profile
        )
    _annotate(project, document["predicate"]["checks"])
    return Result(verdict=document["predicate"]["verdict"], document=document)


def _sensitive(project: Project, datasets: Sequence[_Dataset]) -> list[evidence.Check]:
    """Fail for a sensitive column that no file has: one that is misspelt would be shown."""
    known = {column for data in datasets if data.opened for column in data.opened.columns}
    return [
        evidence.check(
            f"sensitive:{name}",
            "fail",
            "missing",
            "present",
            f"The column {name}, which sensitive names, is in none of the files."
            f"{did_you_mean(name, known)}",
            file=project.file.name,
            line=project.line("sensitive", place),
            sets=[role for data in datasets for role in data.roles],
        )
        for place, name in enumerate(project.config.sensitive)
        if known and name not in known
    ]


def _datasets(project: Project, sets: Sequence[EvaluationSet]) -> list[_Dataset]:
    data = project.config.data
    datasets = [_Dataset(path=data.training, where=("data", "training"), roles=[TRAINING])]
    for name in sets:
        path = data.evaluation_path(name)
        if path is None:
            raise project.error(f"There is no evaluation set {name}.", "data", "evaluation")
        same = next((item for item in datasets if item.path == path), None)
        if same is not None:
            same.roles.append(name)
        else:
            where = ("data", "evaluation", name)
            datasets.append(_Dataset(path=path, where=where, roles=[name]))
    return datasets


def open_set(project: Project, path: str, scratch: Path) -> Source:
    """Open the files of an evaluation set with the types that :func:`validate_project` gives them.

    ``scratch`` is a folder that is made for the Parquet of CSV files.
    """
    yaml_schema, _ = _schema(project)
    text = schema.text_columns(yaml_schema) if yaml_schema is not None else set()
    found = source.find(project, path, "data", "evaluation")
    scratch.mkdir(parents=True)
    return source.open_files(project, path, found, scratch=scratch, text=text)


def _schema(project: Project) -> tuple[Any, str | None]:
    """Give the YAML schema as Pandera's object, or the name of the one that is Python."""
    named = project.config.data.schema_
    if named is None:
        return None, None
    if named.endswith((".yaml", ".yml")):
        path = project.path(named)
        if not path.is_file():
            raise project.error(f"The schema {named} does not exist.", "data", "schema")
        return schema.load(path), None
    module, colon, name = named.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module.split("."), name]):
        raise project.error(
            f"{named} is neither a YAML file (.yaml) nor package.module:Schema.", "data", "schema"
        )
    return None, named


def _baseline(path: Path | None) -> profile.Profile | None:
    if path is None:
        return None
    if not path.exists():
        github.warning(f"The baseline has no profile ({path.name}): nothing is compared with it.")
        return None
    return profile.read(path)


def _remove_earlier(output: Path) -> None:
    # What an earlier call left must not pass for the result of this one.
    for name in ("validate.json", "data.json", "profile.json"):
        (output / name).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(output / "evaluation")


def _unreadable(failure: Failure, data: _Dataset) -> evidence.Check:
    check = evidence.check(
        "readable", "fail", "no", "yes", failure.message,
        file=failure.file, rows=0, examples=[], **({"line": failure.line} if failure.line else {}),
    )  # fmt: skip
    return _of(check, data)


def _of(check: evidence.Check, data: _Dataset) -> evidence.Check:
    named = {"file": check.get("file") or data.path, "set": data.roles[0], "sets": data.roles}
    return check | named  # type: ignore[return-value]


def _overlaps(datasets: Sequence[_Dataset], config: Config) -> dict[str, Overlap]:
    training = datasets[0].opened
    if training is None:
        return {}
    time = as_time(training, config.time) if config.time in training.columns else None
    occasion = [name for name in (config.time, config.group) if name]
    return {
        data.path: Overlap(training, data.opened, config.id, occasion=occasion, time=time)
        for data in datasets[1:]
        if data.opened is not None
    }


def _check(
    project: Project,
    data: _Dataset,
    opened: Source,
    rule: Shown,
    yaml_schema: Any,
    baseline: profile.Profile | None,
    overlaps: dict[str, Overlap],
) -> list[evidence.Check]:
    """Look at every batch once; give the checks."""
    is_training = TRAINING in data.roles
    content = ContentChecker(project, opened, rule, baseline)
    schema_checker = None
    if yaml_schema is not None:
        schema_checker = schema.Checker(yaml_schema, opened, rule)
    if is_training:
        data.sampler = profile.Sampler(opened)
    for batch in opened.batches():
        content.add(batch)
        if schema_checker is not None:
            schema_checker.add(batch)
        if data.sampler is not None:
            data.sampler.add(batch)
            for overlap in overlaps.values():
                overlap.add_training(batch.frame)
        elif data.path in overlaps:
            overlaps[data.path].add_evaluation(batch.frame)
    if is_training:
        fresh = project.config.data.checks.freshness
        column = (fresh.column if fresh else None) or project.config.time
        _, data.newest = time_range(opened, column)
    checks = [] if schema_checker is None else schema_checker.finish()
    return checks + content.finish(training=is_training, newest=data.newest)


def _conclude(
    project: Project,
    output: Path,
    datasets: Sequence[_Dataset],
    sets: Sequence[EvaluationSet],
    checks: list[evidence.Check],
    overlaps: dict[str, Overlap],
    baseline: profile.Profile | None,
    baseline_profile: Path | None,
) -> dict[str, Any]:
    """Write profile, manifest and key files, then the evidence that names them."""
    config, training = project.config, datasets[0]
    subjects, inputs = [], [_input(project, project.file)]
    named = config.data.schema_
    if named is not None and (project.folder / named).is_file():
        inputs.append(_input(project, project.folder / named))
    distances: dict[str, dict[str, Any]] = {}
    if baseline is not None and baseline_profile is not None:
        digest = evidence.sha256_file(baseline_profile)
        inputs.append(evidence.subject("baseline/profile.json", digest))
    if training.opened is not None and training.opened.rows and training.sampler is not None:
        time = config.time if config.time in training.opened.columns else None
        made, distances = profile.make(
            training.opened,
            training.sampler.sample(),
            sensitive=config.sensitive,
            identifier=config.id,
            time=as_time(training.opened, time) if time else None,
            baseline=baseline,
        )
        digest = evidence.write_json(output / "profile.json", made.document())
        subjects.append(evidence.subject("profile.json", digest))
        checks += [_of(check, training) for check in _distance_checks(project, distances)]
    readable = all(data.opened is not None for data in datasets)
    if readable:
        document = _write_manifest(project, output, datasets, sets, overlaps)
        digest = evidence.write_json(output / "data.json", document)
        subjects.append(evidence.subject("data.json", digest))
        described = [document["training"], *document["evaluation"].values()]
        files = {file["path"]: file["sha256"] for item in described for file in item["files"]}
        inputs += [evidence.subject(name, digest) for name, digest in files.items()]
        subjects += [
            evidence.subject(item["keys"]["file"], item["keys"]["sha256"])
            for item in document["evaluation"].values()
            if item["keys"]
        ]
    verdict = "passed"
    if not readable or not checks or any(check["status"] == "fail" for check in checks):
        verdict = "failed"
    statement = evidence.statement(
        "validate", verdict, checks, subjects=subjects, inputs=inputs, distances=distances
    )
    evidence.write_json(output / "validate.json", statement)
    return statement


def _input(project: Project, path: Path) -> dict[str, Any]:
    name = path.relative_to(project.folder).as_posix()
    return evidence.subject(name, evidence.sha256_file(path))


def _write_manifest(
    project: Project,
    output: Path,
    datasets: Sequence[_Dataset],
    sets: Sequence[EvaluationSet],
    overlaps: dict[str, Overlap],
) -> dict[str, Any]:
    config = project.config
    opened = {role: data.opened for data in datasets for role in data.roles}
    paths = {role: data.path for data in datasets for role in data.roles}
    whole = opened[TRAINING]
    if whole is None:
        raise AssertionError
    training = manifest.training(whole, config.time)
    evaluation: dict[str, Any] = {}
    for name in sets:
        rows = opened[name]
        if rows is None:
            raise AssertionError
        entry = manifest.evaluation(
            rows, config.time, cutoff=training["cutoff"], gap=config.data.gap
        )
        keys = None  # A missing column has failed; there is nothing to hand over.
        if set(config.key_columns) <= set(rows.columns):
            target = output / "evaluation" / f"{name}.parquet"
            keys = manifest.write_keys(rows, config.key_columns, target)
        overlap = overlaps.get(paths[name])
        same: dict[str, int | float] = {
            "keys": rows.rows,
            "content": rows.rows,
        }  # The training file itself.
        counts = overlap.counts() if overlap is not None else same
        evaluation[name] = entry | {"keys": keys, "overlap": counts}
        # Rows repeat honestly in many data sets: the gate knows the ordinary rate and judges that.
        if counts["keys"]:
            github.warning(
                f"{counts['keys']} ids of the evaluation set {name} are also in the training data.",
                file=_place(project, rows.names[0]),
            )
    return {
        "schema": 1,
        "training": training,
        "evaluation": evaluation,
        "shared_evaluation": config.data.shared_evaluation,
    }


def _distance_checks(
    project: Project, distances: dict[str, dict[str, Any]]
) -> list[evidence.Check]:
    largest = project.config.data.checks.max_profile_distance
    checks = []
    for column, item in distances.items():
        distance, ordinary = item["distance"], item["ordinary"]
        usual = f"; between time windows it moves by {ordinary['maximum']:.3f}" if ordinary else ""
        too_far = largest is not None and not distance <= largest
        checks.append(
            evidence.check(
                f"profile_distance:{column}",
                "fail" if too_far else "pass",
                distance,
                largest,
                f"The column {column} is {distance:.3f} away from the baseline's training data"
                f"{usual}."
                if too_far
                else None,
                ordinary=ordinary,
            )
        )
    return checks


def _place(project: Project, name: str | None) -> str | None:
    """Give a data file's path as annotations need it: from the root of the repository."""
    if name is None:
        return None
    path = (project.folder / name).resolve()
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _annotate(project: Project, checks: Sequence[Any]) -> None:
    failing = [check for check in checks if check["status"] == "fail"]
    said: dict[tuple[str, str | None, int | None], list[str]] = {}  # What is so of several sets.
    for check in failing:
        text = f"{check['name']}: {check['message']}"
        examples = [
            ", ".join(f"{key} {example[key]!r}" for key in ("id", "row", "value") if key in example)
            for example in check.get("examples", [])[:3]
        ]
        if examples:
            text += f" For example: {'; '.join(examples)}."
        place = text, _place(project, check["file"]), check.get("line")
        said.setdefault(place, []).extend(check["sets"])
    for (text, file, line), sets in itertools.islice(said.items(), ANNOTATIONS):
        github.error(f"{'/'.join(sets)}: {text}", file=file, line=line)
    if len(said) > ANNOTATIONS:
        github.error(f"{len(said) - ANNOTATIONS} more checks failed; see validate.json.")
    passed = sum(check["status"] == "pass" for check in checks)
    for check in checks:
        if check["status"] == "pass" and check.get("rows"):
            github.warning(
                f"{'/'.join(check['sets'])}: {check['name']}: {check['message']}",
                file=_place(project, check["file"]),
            )
    verdict = "failed" if failing else "passed"
    github.info(f"Validation {verdict}: {passed} checks passed, {len(failing)} failed.")
