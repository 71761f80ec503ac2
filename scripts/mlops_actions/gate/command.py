"""Decide whether the candidate is blessed, from files of predictions."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_actions import config as configuration
from mlops_actions import evidence, github, results
from mlops_actions.errors import ConfigurationError
from mlops_actions.gate.printed import announce, table

if TYPE_CHECKING:
    from mlops_actions.gate.decision import Judgement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--candidate", type=Path, help="Predictions to judge, as Parquet.")
    given.add_argument(
        "--handover", type=Path, help="Folder that a workflow's job `model` handed over."
    )
    parser.add_argument(
        "--validate-digest",
        help="With --handover: SHA-256 of its validate.json, as `validate` told it.",
    )
    parser.add_argument(
        "--model-result", default="success", help="With --handover: how the job `model` ended."
    )
    parser.add_argument("--champion", type=Path, help="Predictions to compare with, as Parquet.")
    parser.add_argument(
        "--champion-evidence",
        type=Path,
        help="The gate.json of the champion: slices it was judged on must be there, and an "
        "override is told.",
    )
    parser.add_argument(
        "--anchor",
        type=Path,
        help="Predictions of the best earlier model, which the candidate must not fall behind "
        "either.",
    )
    parser.add_argument(
        "--cutoff",
        type=_moment,
        action="append",
        default=[],
        help="Newest time in a model's training data: rows up to it, and data.gap, are left out. "
        "May be given for each model.",
    )
    parser.add_argument(
        "--earlier",
        type=_count,
        help="With --set release: how many verdicts the set has given before.",
    )
    parser.add_argument(
        "--newest-version",
        type=_count,
        help="The newest registered version; gate.override counts while it is below `until`.",
    )
    parser.add_argument(
        "--evaluation",
        type=Path,
        help="File with target, group, weight, time and slice columns, under the names in "
        "mlops.yaml; by default they stand in the predictions.",
    )
    parser.add_argument(
        "--config", type=Path, default=Path("mlops.yaml"), help="The project's mlops.yaml."
    )
    parser.add_argument("--output", type=Path, required=True, help="Where the evidence goes.")
    parser.add_argument(
        "--set",
        choices=configuration.EVALUATION_SETS,
        default="development",
        help="The evaluation set the predictions are of; by default development.",
    )


def _moment(text: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no time such as 2026-01-31T12:00") from None


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 0")
    return int(text)


_OF_FILES = ("champion", "champion_evidence", "anchor", "evaluation", "earlier", "newest_version")


def run(arguments: argparse.Namespace) -> int:
    """Judge, write the evidence, print the table; give the exit code."""
    if arguments.handover is not None:
        given = [name for name in _OF_FILES if getattr(arguments, name) is not None]
        if given or arguments.cutoff:
            flag = (given or ["cutoff"])[0].replace("_", "-")
            raise ConfigurationError(f"--{flag} goes with --candidate: a handover says it itself.")
        if arguments.validate_digest is None:
            raise ConfigurationError("--handover needs --validate-digest: what to believe of it.")
        from mlops_actions.gate import verdict

        return verdict.run(arguments)
    files = {
        "candidate": arguments.candidate,
        "champion": arguments.champion,
        "evaluation": arguments.evaluation,
        "anchor": arguments.anchor,
    }
    before = {"champion-evidence": arguments.champion_evidence}
    results.make_way(
        {"output": arguments.output}, [arguments.config, *files.values(), *before.values()]
    )
    project = configuration.load(arguments.config)
    for name, path in (files | before).items():
        if path is not None and not path.is_file():
            raise ConfigurationError(f"There is no such file, given as --{name}.", file=path)
    if arguments.earlier is not None and arguments.set != "release":
        raise ConfigurationError("Only verdicts on the release set count: --earlier with it.")

    judgement = _judge(project, arguments, files)
    inputs = [
        evidence.subject(name, evidence.sha256_file(path))
        for name, path in (*files.items(), *before.items(), ("config", arguments.config))
        if path is not None
    ]
    document = evidence.statement(
        "gate",
        judgement.verdict,
        judgement.checks,
        subjects=[item for item in inputs if item["name"] == "candidate"],
        inputs=inputs,
        **judgement.predicate(project.config, None),
    )
    evidence.write_json(arguments.output, document)
    announce(judgement)
    github.show(table(judgement))
    return 1 if judgement.stops else 0


def _judge(
    project: configuration.Project, arguments: argparse.Namespace, files: dict[str, Any]
) -> Judgement:
    # After the cheap errors: polars and numpy take a third of a second.
    from mlops_actions.gate.decision import Extra, SetInput, expected_slices, judge
    from mlops_actions.gate.override import consider, overruled

    baseline: dict[str, Any] | None = None
    warnings: list[str] = []
    if arguments.champion_evidence is not None:
        known = evidence.read(arguments.champion_evidence, "gate")
        baseline = {"slices": expected_slices(project.config, known)}
        warnings = overruled(known, "The champion")
    judgement = judge(
        project,
        {arguments.set: SetInput(**files, cutoffs=tuple(arguments.cutoff))},
        baseline=baseline,
        earlier=arguments.earlier,
        extra=Extra(warnings=warnings),
    )
    override = project.config.gate.override
    return consider(judgement, override, newest=arguments.newest_version, where=None)
