"""What was proved of an image, as Markdown."""

from __future__ import annotations

import re
from typing import Any


def markdown(predicate: dict[str, Any]) -> str:
    """The checks of ``build.json`` as a table; what a container said cannot break it."""
    version = predicate.get("version")
    named = f"**{predicate.get('model')}**" + (f" version **{version}**" if version else "")
    lines = [
        f"{named}, image: **{predicate['verdict']}**",
        "",
        "| Check | Result | Seen | Required |",
        "| --- | --- | --- | --- |",
    ]
    for one in predicate["checks"]:
        unit = f" {one['unit']}" if one.get("unit") else ""
        observed, required = (
            value if value is None else f"{value}{unit}"
            for value in (one["observed"], one["required"])
        )
        cells = [one["name"], one["status"], one.get("message") or observed, required]
        shown = ["" if cell is None else _cell(cell) for cell in cells]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace("|", "\\|")
    return re.sub(r"\s+", " ", text).replace("<", "&lt;")
