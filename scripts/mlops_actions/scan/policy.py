"""What the findings of a scan mean under the section ``scan`` of ``mlops.yaml``."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any, Literal

from mlops_actions.config import Project, Scan, Waiver
from mlops_actions.evidence import Check, Status, check
from mlops_actions.scan.trivy import SEVERITIES, Finding, Report, same_id

Decision = Literal["fail", "waived", "warn", "listed"]

# What Trivy calls a vulnerability that nobody has repaired. `end_of_life` is not among them: there
# is a repair, a newer base image.
_UNFIXED = {"", "unknown", "affected", "under_investigation", "will_not_fix", "fix_deferred"}
_PAST: dict[Decision, str] = {
    "fail": "failing",
    "waived": "waived",
    "warn": "warned of",
    "listed": "only listed",
}
_DECISIONS: tuple[Decision, ...] = tuple(_PAST)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """A finding and what it means."""

    finding: Finding
    decision: Decision
    because: str
    waiver: Waiver | None = None

    @property
    def rank(self) -> tuple[int, int, str, str]:
        """Place in a list: what fails comes first, then what is more severe."""
        one = self.finding
        place = _DECISIONS.index(self.decision), SEVERITIES.index(one.severity)
        return *place, one.id, one.package

    def document(self) -> dict[str, Any]:
        """Give it as evidence."""
        one = self.finding
        found: dict[str, Any] = {
            "id": one.id,
            "kind": one.kind,
            "package": one.package or None,
            "installed": one.installed or None,
            "fixed": one.fixed or None,
            "severity": one.severity,
            "class": one.class_ or None,
            "target": one.target or None,
            "path": one.path or None,
            "line": one.line,
            "status": one.status or None,
            "title": one.title or None,
            "url": one.url or None,
            "decision": self.decision,
            "because": self.because,
        }
        if self.waiver is not None:
            found["waived"] = {
                "owner": self.waiver.owner,
                "reason": self.waiver.reason,
                "expires": self.waiver.expires.isoformat(),
            }
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class WaiverState:
    """A waiver and what it does today."""

    waiver: Waiver
    index: int
    expired: bool
    days_left: int
    matches: int

    @property
    def status(self) -> str:
        """One word for it."""
        if self.expired:
            return "expired"
        return "active" if self.matches else "unused"

    def document(self) -> dict[str, Any]:
        """Give it as evidence."""
        return {
            "id": self.waiver.id,
            "package": self.waiver.package,
            "target": self.waiver.target,
            "reason": self.waiver.reason,
            "owner": self.waiver.owner,
            "expires": self.waiver.expires.isoformat(),
            "days_left": self.days_left,
            "status": self.status,
            "matches": self.matches,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict on one image."""

    findings: tuple[Judged, ...]
    waivers: tuple[WaiverState, ...]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check fails, and no finding does that a check would not count."""
        return not self.reasons and not self.failing

    @property
    def reasons(self) -> list[Check]:
        """The checks that fail."""
        return [one for one in self.checks if one["status"] == "fail"]

    @property
    def tolerated(self) -> list[Check]:
        """The checks that would fail, were the policy not to warn only."""
        return [
            one
            for one in self.checks
            if one["status"] == "pass" and one["observed"] != one["required"]
        ]

    @property
    def failing(self) -> list[Judged]:
        """The findings that fail, the most severe first."""
        return [one for one in self.findings if one.decision == "fail"]

    def counts(self) -> dict[str, dict[str, int]]:
        """How many findings there are, by severity and by what they mean."""
        return {
            severity: {
                "total": sum(one.finding.severity == severity for one in self.findings),
                **{
                    decision: sum(
                        one.decision == decision and one.finding.severity == severity
                        for one in self.findings
                    )
                    for decision in _DECISIONS
                },
            }
            for severity in SEVERITIES
        }


def refuse_long_waivers(project: Project, today: datetime.date) -> None:
    """Raise :class:`ConfigurationError` at a waiver that expires after ``max_waiver_days``."""
    policy = project.config.scan
    last = today + datetime.timedelta(days=policy.max_waiver_days)
    for index, waiver in enumerate(policy.waivers):
        if waiver.expires > last:
            raise project.error(
                f"The waiver of {waiver.id} expires on {waiver.expires}: at most "
                f"{policy.max_waiver_days} days from today are allowed (max_waiver_days), which is "
                f"{last}.",
                *("scan", "waivers", index, "expires"),
            )


def matches(waiver: Waiver, finding: Finding) -> bool:
    """Whether a waiver is about a finding.

    A secret is waived in one file only: its id names a rule, and the next key of the same sort
    somewhere else is another leak.
    """
    if finding.kind == "secret" and waiver.target is None:
        return False
    if waiver.package is not None and waiver.package.lower() != finding.package.lower():
        return False
    if waiver.target is not None and waiver.target.lstrip("/") not in finding.places:
        return False
    return same_id(waiver.id) in finding.ids


def judge(reports: Sequence[Report], policy: Scan, today: datetime.date) -> Judgement:
    """Say what the findings of the reports mean today."""
    # The same finding may stand in two reports, such as a Dockerfile's in both.
    findings = list(dict.fromkeys(one for report in reports for one in report.findings))
    judged = tuple(
        sorted((_judged(one, policy, today) for one in findings), key=lambda one: one.rank)
    )
    waivers = tuple(
        WaiverState(
            waiver=waiver,
            index=index,
            expired=today >= waiver.expires,
            days_left=max(0, (waiver.expires - today).days),
            matches=sum(matches(waiver, one) for one in findings),
        )
        for index, waiver in enumerate(policy.waivers)
    )
    checks = (
        _packages(reports, policy),
        _kind(judged, "vulnerability", "vulnerabilities", policy.severities),
        _misconfigurations(reports, judged, policy),
        _kind(judged, "secret", "secrets", None if policy.secrets == "fail" else []),
        _end_of_life(reports, policy),
        _waivers(waivers, judged),
    )
    return Judgement(findings=judged, waivers=waivers, checks=checks)


def _judged(finding: Finding, policy: Scan, today: datetime.date) -> Judged:
    decision, because = _unwaived(finding, policy)
    if decision != "fail":
        return Judged(finding=finding, decision=decision, because=because)
    found = [waiver for waiver in policy.waivers if matches(waiver, finding)]
    # Of several the one that holds longest.
    waiver = max(found, key=lambda one: one.expires, default=None)
    if waiver is None:
        return Judged(finding=finding, decision="fail", because=because)
    if today >= waiver.expires:
        because += f"; its waiver expired on {waiver.expires}"
        return Judged(finding=finding, decision="fail", because=because)
    because = f"waived by {waiver.owner} until {waiver.expires}"
    return Judged(finding=finding, decision="waived", because=because, waiver=waiver)


def _unwaived(finding: Finding, policy: Scan) -> tuple[Decision, str]:
    hidden = f"; {finding.suppressed} would have hidden it" if finding.suppressed else ""
    if finding.kind == "secret":
        return policy.secrets, f"a secret in the image{hidden}"
    wanted = policy.misconfigurations if finding.kind == "misconfiguration" else policy.severities
    unknown = finding.severity == "UNKNOWN"
    if not unknown and finding.severity not in wanted:
        return "listed", f"{finding.severity} is below the policy"
    repair = f"fixed in {finding.fixed}" if finding.fixed else ""
    if finding.kind == "vulnerability" and not repair:
        if policy.ignore_unfixed and finding.status in _UNFIXED:
            return "listed", f"there is no fix ({finding.status or 'no status'}), ignore_unfixed"
        repair = f"no fix ({finding.status})" if finding.status else "no fix"
    because = "; ".join(part for part in (finding.severity, repair) if part) + hidden
    if unknown:
        return policy.unknown_severity, f"{because}; nobody has scored it yet"
    return "fail", because


def _packages(reports: Sequence[Report], policy: Scan) -> Check:
    images = [report for report in reports if report.is_image]
    seen, wanted = sum(report.saw_packages for report in images), len(images)
    if seen and seen == wanted:
        return check("packages", "pass", seen, wanted)
    return check(
        "packages",
        "fail" if policy.no_packages == "fail" else "pass",
        seen,
        wanted,
        "The report of the image has looked at no package: the scanner vuln was off, or Trivy does "
        "not know the image's system.",
    )


def _misconfigurations(reports: Sequence[Report], judged: Sequence[Judged], policy: Scan) -> Check:
    found = any(one.finding.kind == "misconfiguration" for one in judged)
    if not found and not any("config" in report.classes for report in reports):
        message = "No report has a Dockerfile's checks (scan-type: config)."
        return check("misconfigurations", "skipped", None, 0, message)
    return _kind(judged, "misconfiguration", "misconfigurations", policy.misconfigurations)


def _kind(
    judged: Sequence[Judged], kind: str, name: str, severities: Sequence[str] | None
) -> Check:
    of_kind = [one for one in judged if one.finding.kind == kind]
    failing = [one for one in of_kind if one.decision == "fail"]
    status: Status = "fail" if failing else "pass"
    asked = "any" if severities is None else " or ".join(severities) or "none fails"
    by = {decision: sum(one.decision == decision for one in of_kind) for decision in _DECISIONS}
    counted = ", ".join(f"{count} {_PAST[decision]}" for decision, count in by.items() if count)
    message = f"{counted or 'none'} (policy: {asked})"
    unfixed = sum(one.finding.kind == "vulnerability" and not one.finding.fixed for one in failing)
    if unfixed:
        message += (
            f"; {unfixed} without a fix: take a newer base image, waive each until a date, or set "
            "ignore_unfixed"
        )
    return check(name, status, len(failing), 0, message)


def _end_of_life(reports: Sequence[Report], policy: Scan) -> Check:
    ended = [report for report in reports if report.os["eosl"]]
    if not ended:
        return check("end_of_life", "pass", observed=False, required=False)
    name = " ".join(str(ended[0].os[key]) for key in ("family", "name") if ended[0].os[key])
    return check(
        "end_of_life",
        "fail" if policy.end_of_life == "fail" else "pass",
        observed=True,
        required=False,
        message=f"{name or 'The system'} gets no more security updates: build on a newer base.",
    )


def _waivers(waivers: Sequence[WaiverState], judged: Sequence[Judged]) -> Check:
    expired = sum(
        any(matches(state.waiver, one.finding) for one in judged if one.decision == "fail")
        for state in waivers
        if state.expired
    )
    if expired:
        message = "An expired waiver waives nothing: repair what it is about, or decide again."
        return check("waivers", "fail", expired, 0, message)
    return check("waivers", "pass", 0, 0)
