"""Keep one report a model on the pull request: found by its marker and updated in place."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from urllib.parse import quote

from mlops_actions import config, github, report
from mlops_actions.errors import ConfigurationError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml.")
    parser.add_argument("--report", type=Path, required=True, help="The report, in Markdown.")
    parser.add_argument("--link", default="", help="Where the full report is.")


def run(arguments: argparse.Namespace) -> int:
    """Comment, where there is a pull request and the right to; give 0 either way."""
    request = github.event().pull_request
    if request is None:
        github.info("There is no pull request to comment on.")
        return 0
    # Found by the file: its model has no name while it is broken, and an older report must not
    # stand that says something else.
    marker = f"<!-- mlops-actions: quality gate of {_place(arguments.config)}, "
    head = f"{marker}{_name(arguments.config)} -->\n"
    text = f"### ❌ {arguments.config}: no verdict\n\nThe gate left no report. Its log says why.\n"
    if arguments.report.is_file():
        text = arguments.report.read_text(encoding="utf-8")
    body = report.comment(
        text,
        limit=github.COMMENT_LIMIT - len(head),
        link=arguments.link or github.event().run_url,
    )
    url = github.upsert_comment(
        number=int(request["number"]),
        marker=marker,
        body=head + body,
        token=os.environ.get("GITHUB_TOKEN", ""),
    )
    if url:
        github.info(f"The report is on the pull request: {url}")
    return 0


def _name(file: Path) -> str:
    try:
        return config.load(file).config.name
    except ConfigurationError:
        return "whose name is unknown"


def _place(file: Path) -> str:
    """Give the file's path in the repository, without what could end an HTML comment."""
    path, workspace = file.resolve(), Path(os.environ.get("GITHUB_WORKSPACE", "")).resolve()
    return quote(
        (path.relative_to(workspace) if path.is_relative_to(workspace) else file).as_posix()
    )
