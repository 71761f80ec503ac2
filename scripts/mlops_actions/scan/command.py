"""Decide by Trivy's reports whether an image may be used.

Exit codes: 0 passed, 1 failed or a report that cannot be relied on, 2 the policy or the call is
wrong.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence, github
from mlops_actions.scan import image, summary, trivy
from mlops_actions.scan.policy import Judgement, judge, refuse_long_waivers
from mlops_actions.scan.trusted import untrusted_configuration

_MOST_ANNOTATIONS = 10  # Of one level a step may have ten; GitHub drops the others.


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


def run(arguments: argparse.Namespace) -> int:
    """Judge, write the evidence and the summary; give the exit code."""
    # What an earlier call left must not be taken for this one's, whatever happens from here on.
    arguments.output.unlink(missing_ok=True)
    project = config.load(arguments.config)
    today = datetime.datetime.now(datetime.UTC).date()
    refuse_long_waivers(project, today)
    given = image.digest(arguments.image_digest) if arguments.image_digest else None
    reports = [trivy.read(path) for path in arguments.report]
    layout = image.read_layout(arguments.layout) if arguments.layout else None
    digest = image.identify(reports, given, layout)
    judgement = judge(reports, project.config.scan, today)
    ignored = untrusted_configuration(Path())
    document = _document(project, reports, judgement, digest, ignored)
    evidence.write_json(arguments.output, document)
    github.add_summary(summary.markdown(judgement, digest, ignored))
    _announce(project, judgement, ignored)
    github.set_output("verdict", document["predicate"]["verdict"])
    print(summary.plain(judgement))  # noqa: T201 - The command's data.
    return 0 if judgement.passed else 1


def _document(
    project: config.Project,
    reports: list[trivy.Report],
    judgement: Judgement,
    digest: str | None,
    ignored: list[Path],
) -> dict[str, Any]:
    first = next(report for report in reports if report.is_image)
    inputs = [
        *(evidence.subject(report.file.name, report.sha256) for report in reports),
        evidence.subject("config", evidence.sha256_file(project.file)),
    ]
    if digest is None:
        bound = evidence.check(
            "image",
            "skipped",
            message="The report does not say which image it is about; give --image-digest.",
        )
        subjects = [evidence.subject(first.file.name, first.sha256)]
    else:
        bound = evidence.check("image", "pass", digest, digest)
        subjects = [evidence.subject("image", digest.removeprefix("sha256:"))]
    return evidence.statement(
        "scan",
        "passed" if judgement.passed else "failed",
        [bound, *judgement.checks],
        subjects=subjects,
        inputs=inputs,
        model=project.config.name,
        image=digest,
        reports=[
            {
                "name": report.file.name,
                "sha256": report.sha256,
                "artifact": report.artifact,
                "artifact_type": report.artifact_type,
                "trivy": report.version or None,
                "created": report.created or None,
                "os": dict(report.os),
            }
            for report in reports
        ],
        os=dict(first.os),
        trivy=first.version or None,
        counts=judgement.counts(),
        findings=[one.document() for one in judgement.findings],
        waivers=[one.document() for one in judgement.waivers],
        policy=project.config.scan.model_dump(mode="json", exclude={"waivers"}),
        ignored_configuration=[path.name for path in ignored],
    )


def _announce(project: config.Project, judgement: Judgement, ignored: list[Path]) -> None:
    """Say as annotations what must not be missed."""
    for path in ignored:
        github.warning(
            "Not used: the policy of a scan is the section scan of mlops.yaml.", file=path
        )
    for state in judgement.waivers:
        line = project.line("scan", "waivers", state.index, "expires")
        name, place = state.waiver.id, {"file": project.file, "line": line}
        if state.expired:
            tell = github.error if state.matches else github.warning
            tell(f"The waiver of {name} expired on {state.waiver.expires}.", **place)
        elif not state.matches:
            github.warning(f"The waiver of {name} matches nothing any more: remove it.", **place)
    for one in judgement.reasons:
        github.error(f"{one['name']}: {one.get('message', 'failed')}")
    for one in judgement.tolerated:
        github.warning(f"{one['name']}: {one.get('message', 'not as required')}")
    # The log has them all, in the table.
    for found in judgement.failing[:_MOST_ANNOTATIONS]:
        where = found.finding.package or found.finding.path or found.finding.target
        github.error(f"{found.finding.id} in {where}: {found.because}")
    for found in [one for one in judgement.findings if one.decision == "warn"][:_MOST_ANNOTATIONS]:
        where = found.finding.package or found.finding.path or found.finding.target
        github.warning(f"{found.finding.id} in {where}: {found.because}")
