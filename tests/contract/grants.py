"""What a called workflow asks for, and what callers grant it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from sources import SLUG, Source

LEVELS = ("none", "read", "write")
_FENCED = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OURS = re.compile(rf"(?:\$|{SLUG})/\.github/workflows/([\w-]+)\.yml(?:@.*)?")


def needed(source: Source, workflows: dict[str, Source]) -> dict[str, str]:
    """The union of the rights of a workflow's jobs, those of workflows it calls included."""
    union: dict[str, str] = {}
    for job in source.jobs.values():
        called = _OURS.fullmatch(job.get("uses", ""))
        grants = dict(job.get("permissions") or {})
        for asked in [grants] + ([needed(workflows[called[1]], workflows)] if called else []):
            for scope, level in asked.items():
                union[scope] = max(union.get(scope, "none"), level, key=LEVELS.index)
    return union


def examples(markdown: str) -> list[Any]:
    """The workflows shown in a document."""
    documents = [YAML(typ="rt").load(text) for text in _FENCED.findall(markdown)]
    return [document for document in documents if isinstance(document, dict) and "jobs" in document]


def caller_problems(document: Any, workflows: dict[str, Source]) -> Iterator[str]:
    """What a caller of our workflows grants, passes or leaves out that the callee does not take.

    More rights than needed are a fault, too: people copy what they are shown.
    """
    for name, job in document["jobs"].items():
        called = _OURS.fullmatch(job.get("uses", ""))
        if not called:
            continue
        if called[1] not in workflows:
            yield f"{name}: there is no workflow {called[1]}.yml"
            continue
        callee = workflows[called[1]]
        granted = dict(job.get("permissions", document.get("permissions", {})))
        wanted = needed(callee, workflows)
        if granted != wanted:
            yield f"{name} grants {granted}, and {called[1]}.yml asks for {wanted}"
        unknown = set(job.get("with") or {}) - set(callee.inputs)
        if unknown:
            yield f"{name}: {called[1]}.yml has no input {sorted(unknown)}"
        secrets = job.get("secrets") or {}
        if secrets == "inherit":
            yield f"{name}: secrets are passed one by one"
        elif set(secrets) - set(callee.interface.get("secrets") or {}):
            yield f"{name}: {called[1]}.yml has no secret of these: {sorted(secrets)}"
        if document.get("permissions") != {}:
            yield f"{name}: the caller has no permissions: {{}} on top"
