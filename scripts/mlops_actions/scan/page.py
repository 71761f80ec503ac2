"""The verdict on an image as one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlops_actions import github
from mlops_actions.report.findings import NOTHING
from mlops_actions.scan.policy import Decision, Judged, Judgement
from mlops_actions.scan.summary import address, place
from mlops_actions.scan.trivy import Report

_MOST_ROWS = 2_000
_CAPTIONS: tuple[tuple[Decision, str], ...] = (
    ("fail", "Findings that fail"),
    ("waived", "Findings that are waived"),
    ("warn", "Findings that the policy warns of"),
    ("listed", "Findings that the policy only lists"),
)


def html(
    judgement: Judgement,
    *,
    model: str,
    image: str | None,
    reports: Sequence[Report],
    notes: Sequence[str],
) -> str:
    """Write the page. No script runs in it and nothing is fetched, whatever a finding says."""
    import jinja2

    from mlops_actions.report.html import POLICY

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("mlops_actions.scan"),
                jinja2.PackageLoader("mlops_actions.report"),  # Its style.
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    verdict = "passed" if judgement.passed else "failed"
    return environment.get_template("scan.html.jinja").render(
        judgement=judgement,
        headline=f"{model}: the scan of the image {verdict}",
        by={
            decision: [_row(one) for one in judgement.findings if one.decision == decision]
            for decision, _ in _CAPTIONS
        },
        captions=_CAPTIONS,
        image=image,
        reports=reports,
        notes=notes,
        policy=POLICY,
        most=_MOST_ROWS,
        run_url=github.event().run_url,
    )


def _finalize(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NOTHING if value is None else value


def _row(one: Judged) -> dict[str, Any]:
    return {
        "finding": one.finding,
        "because": one.because,
        "place": place(one),
        "address": address(one),
    }
