"""Judge the image in use by today's advisories, and keep one issue while it fails.

Runs nothing of the image's. Which image is in use is looked up again, and the report must be about
that one: what the job with the scanner handed over is files from a stranger.
"""

from __future__ import annotations

import argparse
import datetime
import os
from pathlib import Path

from mlops_actions import config, deployed, evidence, github
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.rescan.issue import Issue, keep, marker
from mlops_actions.scan import summary
from mlops_actions.scan.image import read_layout
from mlops_actions.scan.verdict import Scan, look


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=Path("mlops.yaml"), help="mlops.yaml.")
    parser.add_argument(
        "--handover", type=Path, required=True, help="Folder of `deployed`, with trivy.json."
    )
    parser.add_argument(
        "--alias",
        default=deployed.AUTO,
        help="Alias of the version in use; auto: champion, or challenger.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Judge, write the evidence and the page, keep the issue; give 0 when the image passes."""
    handover: Path = arguments.handover
    event = github.event()
    event.require_default_branch("says what is tolerated in use")
    token = os.environ.get("GITHUB_TOKEN", "")
    if event.name and not token:
        raise ConfigurationError("github-token is empty: nobody would be told.")
    loaded = config.load(arguments.config)
    found = _same(loaded, arguments.alias, handover)
    scan = look(loaded, [handover / "trivy.json"], given=None, layout=handover / "layout")
    document = evidence.statement(
        "rescan",
        scan.verdict,
        scan.checks,
        previous=[handover / "deployed.json"],
        version=found.version,
        alias=found.alias,
        reference=found.reference,
        **scan.facts(),
    )
    evidence.write_json(handover / "rescan.json", document)
    (handover / "rescan.html").write_text(scan.page(scan.notes), encoding="utf-8")
    report = summary.markdown(scan.judgement, scan.digest, scan.notes)
    github.add_summary(report)
    scan.announce()
    github.set_output("verdict", scan.verdict)
    if token:
        issue = _tell(arguments.alias, found, scan, report, token)
        github.info(f"Issue: {issue.outcome} {issue.url or ''}".rstrip())
        github.set_output("issue", issue.url or "")
    github.show(summary.plain(scan.judgement))
    return 0 if scan.judgement.passed else 1


def _same(loaded: config.Project, alias: str, handover: Path) -> deployed.Deployed:
    """Look up what is in use, and make sure that it is what was fetched and scanned."""
    fetched = evidence.read(handover / "deployed.json", "deployed")
    found = deployed.find(loaded, alias)
    held = read_layout(handover / "layout").manifest
    if found is None or not found.digest == held == fetched.get("digest"):
        raise Failure(
            f"{found.digest if found else 'No image'} is in use, and {held} was scanned: it "
            "changed meanwhile. Run this again."
        )
    return found


def _tell(alias: str, found: deployed.Deployed, scan: Scan, report: str, token: str) -> Issue:
    model = scan.project.config.name
    run_url = github.event().run_url
    today = datetime.datetime.now(datetime.UTC).date()
    seen = f"Scanned on {today}" + (f" by [this run]({run_url})." if run_url else ".")
    title = f"{model}: the image in use fails its scan"
    body = (
        f"The image of version {found.version} (`{found.alias}`) does not pass the policy of "
        f"`mlops.yaml` against today's advisories.\n\n`{found.reference}`\n\n{seen} This issue is "
        "kept up to date, and is closed when the image in use passes: after a build on a newer "
        "base or with newer packages (`build.yml` with `rebuild`), or a waiver with a date.\n\n"
        f"{report}"
    )
    # The marker has the alias as it was asked for: what is in use may change under it.
    return keep(
        title,
        None if scan.judgement.passed else body,
        mark=marker(model, alias),
        token=token,
        closing=f"`{found.reference}` passes its scan. {seen}",
    )
