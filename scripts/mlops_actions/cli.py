"""The command line: one command a stage."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from mlops_actions import __version__, github
from mlops_actions.errors import Failure

# A command's module is imported when it is called: validation must not wait for MLflow's client.
COMMANDS = {
    "validate": "Check the data against its schema and profile it.",
    "train": "Run the training command and export the run it logged.",
    "score": "Predict the evaluation sets with the candidate and the champion.",
    "gate": "Decide whether the candidate is blessed.",
    "publish": "Register a blessed candidate and move its alias.",
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


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="mlops-actions",
        description="From a pull request to monitored production, one command a stage.",
        epilog="exit codes: 0 passed or unchanged; 1 failed, rejected or inconclusive;\n"
        "            2 the configuration or the call is wrong",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = importlib.import_module(f"mlops_actions.{name}")
            command.description = module.__doc__
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; give its exit code."""
    try:
        arguments = _parse(sys.argv[1:] if argv is None else argv)
        code: int = arguments.run(arguments)
    except Failure as failure:
        github.report_failure(failure)
        return failure.code
    except KeyboardInterrupt:
        github.error("Interrupted.")
        return 130
    return code
