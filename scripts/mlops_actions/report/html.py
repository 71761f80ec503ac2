"""The report as one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2
from markupsafe import Markup

from mlops_actions.report import markdown
from mlops_actions.report.findings import NOTHING, Findings

_MOST_ROWS = 2_000

# No script runs and nothing is fetched, whatever a name in the data says.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def _finalize(value: object) -> object:
    return NOTHING if value is None else value


def _lines(value: str | Sequence[str]) -> Markup:
    parts = [value] if isinstance(value, str) else value
    return Markup("<br>").join(parts)


def render(findings: Findings, **context: object) -> str:
    """Write the report.

    ``context`` has ``commit``, ``run_url``, ``restricted`` and ``pull_request``.
    """
    from mlops_actions.report import charts  # Matplotlib takes its time.

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mlops_actions.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": markdown.count, "plural": markdown.plural, "lines": _lines}
    return environment.get_template("report.html.jinja").render(
        markdown.sections(findings),
        plots=charts.draw(findings),
        policy=POLICY,
        most=_MOST_ROWS,
        link=markdown.link,
        **context,
    )
