"""The tables of README.md and docs/, made from the YAML: cog runs these functions.

What a table says is what a workflow or an action declares, so the two cannot drift apart.
"""

# ruff: noqa: INP001 - cog imports it from its folder.
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
OWN_WORKFLOWS = {"ci", "release"}
_LEVELS = {"none": 0, "read": 1, "write": 2}


def _load(path: str) -> Any:
    return YAML(typ="rt").load((ROOT / path).read_text(encoding="utf-8"))


def _interface(path: str) -> Any:
    document = _load(path)
    return document["on"]["workflow_call"] or {} if "on" in document else document


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    # Empty lines around it: cog's markers are HTML, which Markdown would run into the table.
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _default(declared: Any) -> str:
    if declared.get("required"):
        return "required"
    value = declared.get("default", "")
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`" if value != "" else ""


def inputs(path: str) -> str:
    """Table of the inputs that a workflow or an action declares."""
    rows = [
        [f"`{name}`", _default(declared), _cell(declared["description"])]
        for name, declared in (_interface(path).get("inputs") or {}).items()
    ]
    return _table(["Input", "Default", "Description"], rows)


def secrets(path: str) -> str:
    """Table of the secrets that a workflow takes."""
    rows = [
        [
            f"`{name}`",
            "yes" if (declared or {}).get("required") else "no",
            _cell((declared or {})["description"]),
        ]
        for name, declared in (_interface(path).get("secrets") or {}).items()
    ]
    return _table(["Secret", "Required", "Description"], rows)


def outputs(path: str) -> str:
    """Table of the outputs that a workflow or an action gives."""
    rows = [
        [f"`{name}`", _cell(declared["description"])]
        for name, declared in (_interface(path).get("outputs") or {}).items()
    ]
    return _table(["Output", "Description"], rows)


def _needed(path: str) -> dict[str, str]:
    """The highest level that a job of the workflow asks for, by scope."""
    needed: dict[str, str] = {}
    for job in _load(path)["jobs"].values():
        for scope, level in (job.get("permissions") or {}).items():
            if _LEVELS[level] > _LEVELS[needed.get(scope, "none")]:
                needed[scope] = level
    return needed


def permissions(path: str) -> str:
    """Table of what the calling job must grant, with each job's reason."""
    text = (ROOT / path).read_text(encoding="utf-8").splitlines()
    reasons: dict[str, list[str]] = {}
    for name, job in _load(path)["jobs"].items():
        grants: Any = job.get("permissions") or {}
        for scope, level in grants.items():
            comment = text[grants.lc.key(scope)[0]].partition("# ")[2]
            reasons.setdefault(scope, []).append(f"`{name}` ({level}): {comment}")
    rows = [
        [f"`{scope}: {level}`", _cell(" ".join(reasons[scope]))]
        for scope, level in _needed(path).items()
    ]
    return _table(["Permission", "Which job asks for it, and why"], rows)


def _first_comment(path: Path) -> str:
    """The comment at the head of a workflow, which says what the workflow is for."""
    words = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words.append(line.lstrip("# "))
    return re.split(r"(?<=\.)\s", " ".join(words), maxsplit=1)[0]


def workflows() -> str:
    """Table of the public workflows, with a link to the page of each."""
    rows = [
        [f"[`{path.name}`](docs/workflows/{path.stem}.md)", _cell(_first_comment(path))]
        for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
        if path.stem not in OWN_WORKFLOWS
    ]
    return _table(["Workflow", "What it does"], rows)


def actions() -> str:
    """Table of the actions, the front door first."""
    paths = [ROOT / "action.yml", *sorted(ROOT.glob("actions/*/action.yml"))]
    rows = []
    for path in paths:
        folder = path.parent.relative_to(ROOT).as_posix()
        name = "mlops-actions/mlops-actions" + ("" if folder == "." else f"/{folder}")
        where = path.relative_to(ROOT).as_posix()
        rows.append([f"[`{name}`]({where})", _cell(_load(where)["description"])])
    return _table(["Action", "What it does"], rows)


def callers_permissions() -> str:
    """Table of what a job must grant to call each public workflow."""
    rows = []
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        if path.stem not in OWN_WORKFLOWS:
            needed = _needed(path.relative_to(ROOT).as_posix())
            grants = ", ".join(f"`{scope}: {level}`" for scope, level in needed.items())
            rows.append([f"`{path.name}`", grants or "none"])
    return _table(["Workflow", "The calling job grants"], rows)
