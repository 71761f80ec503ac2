"""The command line: one command a stage."""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mlops_actions import __version__, github
from mlops_actions.errors import ConfigurationError, Failure

# A command's module is imported when it is called: validation must not wait for MLflow's client.
COMMANDS = {
    "validate": "Check the data against its schema and profile it.",
    "train": "Run the training command and export the run it logged.",
    "score": "Predict the evaluation sets with the candidate and the champion.",
    "gate": "Decide whether the candidate is blessed.",
    "comment": "Keep the report on the pull request up to date.",
    "publish": "Register a blessed candidate and move its alias.",
    "build": "Build the image of a blessed version and prove it.",
    "scan": "Decide by Trivy's reports whether an image may be used.",
    "push": "Push an image that was proved and scanned.",
    "record": "Record an image that was pushed and attested.",
    "deployed": "Fetch the image that is in use.",
    "rescan": "Judge the image in use by today's advisories.",
    "registry": "Look at the registry: fetch the baseline, open MLflow's page.",
    "local": "Run a repository's workflows on this machine.",
    "schema": "Print the JSON Schema of mlops.yaml.",
}


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: object) -> None:
        super().__init__(
            **options,  # type: ignore[arg-type]
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Say it as every other error is said: with an annotation, on GitHub."""
        self.print_usage(sys.stderr)
        github.error(f"{message} (see {self.prog} --help)")
        raise SystemExit(2)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="mlops-actions",
        description="From a pull request to a registered model and its image, one command a stage.",
        epilog="exit codes: 0 passed or unchanged; 1 failed, rejected or inconclusive;\n"
        "            2 the configuration or the call is wrong",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="Run in this folder; paths are relative to it.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # A folder may be called like a command.
    words = [word for before, word in itertools.pairwise(["", *argv]) if before != "--directory"]
    chosen = next((word for word in words if word in COMMANDS), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = importlib.import_module(f"mlops_actions.{name}")
            command.description = module.__doc__
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser.parse_args(argv)


def enter(folder: Path) -> None:
    """Change to ``folder``, which in a workflow lies in the checked-out repository.

    Raises :class:`ConfigurationError` when it is not a folder, or lies outside.
    """
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace and not folder.resolve().is_relative_to(Path(workspace).resolve()):
        raise ConfigurationError(f"The working directory {folder} is outside the repository.")
    try:
        os.chdir(folder)
    except OSError:
        raise ConfigurationError(f"The working directory {folder} is not a folder.") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; give its exit code."""
    try:
        arguments = _parse(sys.argv[1:] if argv is None else argv)
        enter(arguments.directory)
        code: int = arguments.run(arguments)
    except Failure as failure:
        github.report_failure(failure)
        return failure.code
    except OSError as problem:
        if problem.errno is None:  # A library's own: the operating system has refused nothing.
            raise
        if os.environ.get("RUNNER_DEBUG") == "1":
            github.info(traceback.format_exc())
        refused = ConfigurationError(f"{problem.strerror}.", file=problem.filename)
        github.report_failure(refused)
        return refused.code
    except KeyboardInterrupt:
        github.error("Interrupted.")
        return 130
    return code
