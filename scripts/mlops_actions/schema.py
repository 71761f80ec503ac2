"""Print the JSON Schema of mlops.yaml, so that an editor completes and checks the file."""

from __future__ import annotations

import argparse
import sys

from mlops_actions import config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command takes no arguments."""
    del parser


def run(arguments: argparse.Namespace) -> int:
    """Print the schema to standard output."""
    del arguments
    sys.stdout.write(config.json_schema())
    return 0
