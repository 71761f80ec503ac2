"""Decide whether the candidate is blessed, from files of predictions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_actions import config as configuration
from mlops_actions import evidence, github
from mlops_actions.errors import ConfigurationError

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
        "--validate-digest", default="", help="With --handover: SHA-256 of its validate.json."
    )
    parser.add_argument(
        "--model-result", default="success", help="With --handover: how the job `model` ended."
    )
    parser.add_argument("--champion", type=Path, help="Predictions to compare with, as Parquet.")
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


def run(arguments: argparse.Namespace) -> int:
    """Judge, write the evidence, print the table; give the exit code."""
    if arguments.handover is not None:
        from mlops_actions.gate import verdict

        return verdict.run(arguments)
    project = configuration.load(arguments.config)
    files = {
        "candidate": arguments.candidate,
        "champion": arguments.champion,
        "evaluation": arguments.evaluation,
    }
    for name, path in files.items():
        if path is not None and not path.is_file():
            raise ConfigurationError(f"There is no such file, given as --{name}.", file=path)

    # After the cheap errors: polars and numpy take a third of a second.
    from mlops_actions.gate.decision import SetInput, judge

    given = SetInput(**files)
    judgement = judge(project, {arguments.set: given}, baseline=None)
    inputs = [
        evidence.subject(name, evidence.sha256_file(path))
        for name, path in (*files.items(), ("config", arguments.config))
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
    print(table(judgement))  # noqa: T201 - The command's data.
    return 1 if judgement.stops else 0


def announce(judgement: Judgement) -> None:
    """Say what must not be missed, on GitHub as annotations."""
    for text in judgement.warnings:
        github.warning(text)
    if judgement.stops:
        for text in judgement.reasons[:10]:
            github.error(text)


def table(judgement: Judgement) -> str:
    """Return the verdict, its reasons and the numbers, to be read in a terminal."""
    head = f"verdict: {judgement.verdict}"
    lines = [head if judgement.gated else f"{head} (not gated: {judgement.policy['mode']})"]
    lines += [f"  {reason}" for reason in judgement.reasons[:20]]
    if len(judgement.reasons) > 20:  # noqa: PLR2004
        lines.append(f"  and {len(judgement.reasons) - 20} more")
    if judgement.metrics:
        lines += ["", *_aligned(_HEADS, [_cells(row) for row in judgement.metrics])]
    bad = [row for row in judgement.slices if row["status"] in {"fail", "inconclusive"}]
    if judgement.slices:
        judged = [row for row in judgement.slices if row["metric"]]
        small = len(judgement.slices) - len(judged)
        lines += ["", f"slices: {len(judged)} judged, {len(bad)} not passed, {small} too small"]
        heads = ("slice", *_HEADS[1:])
        lines += _aligned(heads, [_cells(row, row["slice"]) for row in bad]) if bad else []
    for row in judgement.fairness:
        ours = _number(row["candidate"])
        lines.append(
            f"fairness: {row['rule']} by {row['columns']}: {ours}, champion "
            f"{_number(row['champion'])}; {row['requirement']}: {row['status']}"
        )
    return "\n".join(lines)


_HEADS = ("set", "metric", "candidate", "champion", "difference", "requirement", "status")


def _cells(row: dict[str, Any], first: str | None = None) -> tuple[str, ...]:
    return (
        first or row["set"],
        row["metric"],
        _number(row["candidate"]),
        _number(row["champion"]),
        _number(row["difference"], interval=True),
        row["requirement"],
        row["status"],
    )


def _number(value: dict[str, float] | None, *, interval: bool = False) -> str:
    if value is None:
        return "-"
    if not interval:
        return f"{value['estimate']:.4g}"
    return f"{value['estimate']:+.4g} [{value['low']:+.4g}, {value['high']:+.4g}]"


def _aligned(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]
