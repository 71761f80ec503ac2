"""The command ``mlops-actions local``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mlops_actions.errors import ConfigurationError
from mlops_actions.local.event import NAMES
from mlops_actions.local.session import run_event


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    pair = {"action": "append", "default": [], "metavar": "NAME=VALUE"}
    parser.add_argument("event", choices=NAMES, metavar="EVENT", help=", ".join(NAMES))
    parser.add_argument(
        "--repo", type=Path, default=Path(), metavar="DIR", help="the repository (default: .)"
    )
    parser.add_argument(
        "--workflow", metavar="FILE", help="only this workflow (default: all that have the event)"
    )
    parser.add_argument("--input", **pair, help="an input of workflow_dispatch, or payload")  # type: ignore[arg-type]
    parser.add_argument("--secret", **pair, help="a secret of the repository")  # type: ignore[arg-type]
    parser.add_argument("--var", **pair, help="a variable of the repository")  # type: ignore[arg-type]
    parser.add_argument("--env", **pair, help="an environment variable of every step")  # type: ignore[arg-type]
    parser.add_argument(
        "--action",
        action="append",
        default=[],
        metavar="OWNER/NAME=DIR",
        help="a directory that stands for another's action",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the run is kept")
    parser.add_argument("--actor", default="octocat", help="who does it, e.g. 'dependabot[bot]'")
    parser.add_argument(
        "--type", metavar="NAME", help="activity, e.g. opened or labeled; or the dispatch's type"
    )
    parser.add_argument("--base", metavar="REF", help="what the pull request goes to")
    parser.add_argument("--fork", action="store_true", help="the pull request is a fork's")
    parser.add_argument(
        "--label", action="append", default=[], metavar="NAME", help="a label of the pull request"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="show what every step prints, not only a failed one"
    )


def _pairs(option: str, values: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not (name and equals):
            raise ConfigurationError(f"--{option} {value!r}: expected NAME=VALUE.")
        pairs[name] = rest
    return pairs


def run(args: argparse.Namespace) -> int:
    """Run the event; give 0 when every job is green, 1 when one is not."""
    done = run_event(
        args.repo,
        args.event,
        workflow=args.workflow,
        inputs=_pairs("input", args.input),
        secrets=_pairs("secret", args.secret),
        variables=_pairs("var", args.var),
        environment=_pairs("env", args.env),
        actions={slug: Path(where) for slug, where in _pairs("action", args.action).items()},
        output=args.output,
        actor=args.actor,
        activity=args.type,
        base=args.base,
        fork=args.fork,
        labels=args.label,
        verbose=args.verbose,
    )
    return done.code
