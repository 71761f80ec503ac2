"""The YAML of this repository, read once, with the lines it stands on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
SLUG = "mlops-actions/mlops-actions"
OWN_WORKFLOWS = {"ci", "release"}  # The others are public.


@dataclasses.dataclass(frozen=True)
class Source:
    """A workflow or an action: ``name`` is its path from the root of the repository."""

    name: str
    text: str

    @classmethod
    def read(cls, path: Path) -> Source:
        return cls(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))

    @functools.cached_property
    def document(self) -> Any:
        return YAML(typ="rt").load(self.text)

    @property
    def is_workflow(self) -> bool:
        return self.name.startswith(".github/workflows/")

    @property
    def is_public_workflow(self) -> bool:
        return self.is_workflow and self.stem not in OWN_WORKFLOWS

    @property
    def stem(self) -> str:
        """What the file is called: the workflow's own name, or the folder of an action."""
        path = Path(self.name)
        return path.stem if self.is_workflow else path.parent.name

    @property
    def jobs(self) -> dict[str, Any]:
        return self.document.get("jobs", {}) if self.is_workflow else {}

    @property
    def interface(self) -> Any:
        """Where inputs, secrets and outputs are declared."""
        if not self.is_workflow:
            return self.document
        on = self.document.get("on")
        return (on.get("workflow_call") if isinstance(on, dict) else None) or {}

    @property
    def inputs(self) -> dict[str, Any]:
        return self.interface.get("inputs") or {}

    @property
    def outputs(self) -> dict[str, Any]:
        return self.interface.get("outputs") or {}

    @property
    def steps(self) -> Iterator[Any]:
        if self.is_workflow:
            for job in self.jobs.values():
                yield from job.get("steps", [])
        else:
            yield from self.document["runs"]["steps"]

    @property
    def uses(self) -> Iterator[tuple[int, str]]:
        """Every reference to an action or a workflow, with the number of its line (from 1)."""
        holders = [*self.jobs.values(), *self.steps]
        for holder in holders:
            if "uses" in holder:
                yield holder.lc.value("uses")[0] + 1, holder["uses"]

    def line(self, number: int) -> str:
        return self.text.splitlines()[number - 1]


def find(pattern: str) -> list[Source]:
    return [Source.read(path) for path in sorted(ROOT.glob(pattern))]


WORKFLOWS = find(".github/workflows/*.y*ml")
PUBLIC_WORKFLOWS = [source for source in WORKFLOWS if source.is_public_workflow]
ACTIONS = find("action.y*ml") + find("actions/*/action.y*ml")
SOURCES = WORKFLOWS + ACTIONS
STAGE_ACTIONS = [source for source in ACTIONS if source.name.startswith("actions/")]
