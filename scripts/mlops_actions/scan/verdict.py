"""One scan: the reports of one image, what they mean today, and how that is said."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlops_actions import config, evidence, github
from mlops_actions.scan import image, trivy
from mlops_actions.scan.policy import Judgement, judge, refuse_long_waivers
from mlops_actions.scan.trusted import untrusted_configuration

_UNATTESTED = "Evidence counts without an attestation here (unattested: allow in mlops.yaml)."
_MOST_ANNOTATIONS = 10  # Of one level a step may have ten; GitHub drops the others.


def look(
    project: config.Project, files: Sequence[Path], *, given: str | None, layout: Path | None
) -> Scan:
    """Read the reports, find out which image they are about, and judge it by today's policy."""
    today = datetime.datetime.now(datetime.UTC).date()
    refuse_long_waivers(project, today)
    reports = [trivy.read(path) for path in files]
    digest = image.identify(reports, given, image.read_layout(layout) if layout else None)
    judgement = judge(reports, project.config.scan, today)
    return Scan(
        project=project,
        reports=reports,
        judgement=judgement,
        digest=digest,
        ignored=untrusted_configuration(Path()),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """What the reports say of one image, and what it means."""

    project: config.Project
    reports: list[trivy.Report]
    judgement: Judgement
    digest: str | None
    ignored: list[Path]

    @property
    def verdict(self) -> str:
        """One word."""
        return "passed" if self.judgement.passed else "failed"

    @property
    def checks(self) -> list[evidence.Check]:
        """Which image it is, then what the policy asks of it."""
        if self.digest is None:
            bound = evidence.check(
                "image",
                "skipped",
                message="The report does not say which image it is about; give --image-digest.",
            )
        else:
            bound = evidence.check("image", "pass", self.digest, self.digest)
        return [bound, *self.judgement.checks]

    @property
    def notes(self) -> list[str]:
        """What else the report says."""
        found = []
        if self.ignored:
            names = ", ".join(path.name for path in self.ignored)
            found.append(f"Not used, for the policy is in mlops.yaml: {names}.")
        if self.project.config.unattested == "allow":
            found.append(_UNATTESTED)
        return found

    def page(self, notes: Sequence[str]) -> str:
        """Give the report as HTML."""
        from mlops_actions.scan import page

        return page.html(
            self.judgement,
            model=self.project.config.name,
            image=self.digest,
            reports=self.reports,
            notes=notes,
        )

    def facts(self) -> dict[str, Any]:
        """Give what evidence of a scan holds besides verdict and checks."""
        first = next(report for report in self.reports if report.is_image)
        return {
            "subjects": [
                evidence.subject(first.file.name, first.sha256)
                if self.digest is None
                else evidence.subject("image", self.digest.removeprefix("sha256:"))
            ],
            "inputs": [
                *(evidence.subject(report.file.name, report.sha256) for report in self.reports),
                evidence.subject("config", evidence.sha256_file(self.project.file)),
            ],
            "model": self.project.config.name,
            "image": self.digest,
            "reports": [
                {
                    "name": report.file.name,
                    "sha256": report.sha256,
                    "artifact": report.artifact,
                    "artifact_type": report.artifact_type,
                    "trivy": report.version or None,
                    "created": report.created or None,
                    "os": dict(report.os),
                }
                for report in self.reports
            ],
            "os": dict(first.os),
            "trivy": first.version or None,
            "counts": self.judgement.counts(),
            "findings": [one.document() for one in self.judgement.findings],
            "waivers": [one.document() for one in self.judgement.waivers],
            "policy": self.project.config.scan.model_dump(mode="json", exclude={"waivers"}),
            "unattested": self.project.config.unattested,
            "ignored_configuration": [path.name for path in self.ignored],
        }

    def announce(self) -> None:
        """Say as annotations what must not be missed."""
        _announce(self.project, self.judgement, self.ignored)


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
