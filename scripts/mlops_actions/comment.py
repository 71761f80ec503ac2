"""Keep one report a model on the pull request: found by its marker and updated in place."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mlops_actions import config, github, report

_ROOM = 500  # Characters for the marker.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml.")
    parser.add_argument("--report", type=Path, required=True, help="The report, in Markdown.")
    parser.add_argument("--link", default="", help="Where the full report is.")


def run(arguments: argparse.Namespace) -> int:
    """Comment, where there is a pull request and the right to; give 0 either way."""
    name = config.load(arguments.config).config.name
    request = github.event().pull_request
    if request is None:
        github.info("There is no pull request to comment on.")
        return 0
    body = report.comment(
        arguments.report.read_text(encoding="utf-8"),
        limit=github.COMMENT_LIMIT - _ROOM,
        link=arguments.link or github.event().run_url,
    )
    url = github.upsert_comment(
        number=int(request["number"]),
        marker=f"<!-- mlops-actions: quality gate of {name} -->",
        body=body,
        token=os.environ.get("GITHUB_TOKEN", ""),
    )
    if url:
        github.info(f"The report is on the pull request: {url}")
    return 0
