"""The report of a run: what was decided and why, for people.

Markdown with Mermaid charts for the comment and the step summary; one HTML file without a single
request for the artifact. Both are made from the documents that the stages wrote, whichever exist.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from mlops_actions import github
from mlops_actions.report import gather as _gather
from mlops_actions.report import words
from mlops_actions.report.gather import Documents

__all__ = ["Report", "comment", "verdict_line", "write"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """The files of a report."""

    markdown: Path
    html: Path


def write(
    folder: Path,
    output: Path,
    *,
    name: str,
    gate: Path | None = None,
    baseline: Path | None = None,
    warnings: Collection[str] = (),
    sensitive: Collection[str] = (),
) -> Report:
    """Write ``report.md`` and ``report.html`` about the run in ``folder`` into ``output``.

    Reads ``validate.json``, ``train.json``, ``score.json``, ``gate.json``, ``data.json`` and
    ``profile.json`` as far as they exist: a run can fail early. One that cannot be read is named
    in the report, and raises nothing. ``gate`` is ``gate.json`` where it lies elsewhere;
    ``baseline`` is the folder with the baseline's ``profile.json``; ``warnings`` are further
    sentences for the top. The values of ``sensitive`` columns are left out of examples and plots,
    whatever the documents hold.
    """
    from mlops_actions.report import html, markdown  # Jinja2: not for a verdict line.

    documents, problems = _gather.read(folder, gate=gate, baseline=baseline)
    found = _gather.gather(
        documents, title=name, problems=problems, warnings=warnings, sensitive=sensitive
    )
    event = github.event()
    request = event.pull_request or {}
    number = request.get("number")
    context = {
        # A pull request runs on a merge that nobody has seen: people know its newest commit.
        "commit": (request.get("head") or {}).get("sha") or event.commit or None,
        "run_url": event.run_url,
        "restricted": event.restricted,
        "pull_request": number if isinstance(number, int) else None,
    }
    output.mkdir(parents=True, exist_ok=True)
    report = Report(markdown=output / "report.md", html=output / "report.html")
    report.markdown.write_text(markdown.render(found, **context), encoding="utf-8")
    report.html.write_text(html.render(found, **context), encoding="utf-8")
    return report


def comment(markdown: str, *, limit: int = 65_000, link: str | None = None) -> str:
    """Fit a report into ``limit`` characters, with a link to all of it.

    Whole sections are left out, the last first, and named; verdict and reasons stay, and no table,
    fence or fold is cut. ``link`` is written when it is a plain http(s) address.
    """
    from mlops_actions.report import markdown as _markdown

    return _markdown.comment(markdown, limit=limit, link=link)


def verdict_line(documents: Documents) -> str:
    """Say the verdict in one line of plain text, such as ``❌ flights: rejected``.

    ``documents`` are statements or their predicates by stage: ``{"gate": {...}, ...}``.
    """
    return words.verdict_line(_gather.gather(documents))
