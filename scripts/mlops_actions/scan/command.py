"""Decide by Trivy's reports whether an image may be used.

Exit codes: 0 passed, 1 failed or a report that cannot be relied on, 2 the policy or the call is
wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mlops_actions import config, evidence, github, results
from mlops_actions.scan import image, summary
from mlops_actions.scan.trusted import refuse_comments
from mlops_actions.scan.verdict import look

_NOT_SENT = (
    "Code scanning does not get these findings (upload-sarif; a private repository needs Code "
    "Security): they are in this report."
)
_NOT_UPLOADED = (
    "Code scanning did not get these findings: their upload failed, and the log of its step says "
    "why. They are in this report."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--report",
        type=Path,
        action="append",
        required=True,
        help="A report of Trivy's, as JSON; may be given again, for the image and its Dockerfile.",
    )
    parser.add_argument(
        "--config", type=Path, default=Path("mlops.yaml"), help="The project's mlops.yaml."
    )
    parser.add_argument("--output", type=Path, required=True, help="Where the evidence goes.")
    parser.add_argument(
        "--image-digest",
        default="",
        help="Digest of the image's manifest or configuration; the report must be about it.",
    )
    parser.add_argument(
        "--layout", type=Path, help="The OCI layout that was scanned; the report must be about it."
    )
    parser.add_argument("--html", type=Path, help="Where a page for people goes.")
    parser.add_argument(
        "--sarif-outcome",
        choices=["success", "failure", "cancelled", "skipped"],
        default="skipped",
        help="Outcome of the step that sent the findings to code scanning (default: skipped).",
    )


def run(arguments: argparse.Namespace) -> int:
    """Judge, write the evidence, the page and the summary; give the exit code."""
    results.make_way(
        {"output": arguments.output, "html": arguments.html},
        [*arguments.report, arguments.config, arguments.layout],
    )
    project = config.load(arguments.config)
    given = image.digest(arguments.image_digest) if arguments.image_digest else None
    refuse_comments(project)
    scan = look(project, arguments.report, given=given, layout=arguments.layout)
    document = evidence.statement("scan", scan.verdict, scan.checks, **scan.facts())
    evidence.write_json(arguments.output, document)
    notes = [*scan.notes]
    if github.on_github() and arguments.sarif_outcome != "success":  # Only a workflow sends them.
        notes.append(_NOT_SENT if arguments.sarif_outcome == "skipped" else _NOT_UPLOADED)
    if arguments.html:
        arguments.html.parent.mkdir(parents=True, exist_ok=True)
        arguments.html.write_text(scan.page(notes), encoding="utf-8")
    github.add_summary(summary.markdown(scan.judgement, scan.digest, notes))
    scan.announce()
    github.set_output("verdict", scan.verdict)
    github.show(summary.plain(scan.judgement))
    return 0 if scan.judgement.passed else 1
