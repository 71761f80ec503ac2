"""A pull request that changes the policy: what it changes, and whether someone else agreed.

The policy in force is the base branch's. What is not plainly stricter fails the gate until the
label ``gate.approval_label`` was set after the newest commit, by a person with write access who is
not the author. Times are GitHub's own: a commit says of itself whatever its author likes.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mlops_actions import config, github
from mlops_actions.config import Config, Gate, Project
from mlops_actions.errors import ConfigurationError, Failure
from mlops_actions.evidence import Check, check
from mlops_actions.gate.policy_changes import Change, Effect, policy_changes, shrunk
from mlops_actions.pipeline import fetch_base, git

NAME = "policy: changes"
SHRUNK = 0.9
"""An evaluation set with fewer rows than this share of the registered model's has shrunk; less is
how data comes in."""


_LINK = "120000"  # Git's mode of a symbolic link.
_LABEL = str(Gate.model_fields["approval_label"].default)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """What a pull request does to the policy.

    Attributes:
        checks: one, or none where this is no pull request.
        section: the changes and the approval, for the evidence.

    """

    checks: list[Check]
    section: dict[str, Any]


def compare(
    project: Project, *, registered: Mapping[str, Any] | None, rows: Mapping[str, int]
) -> Compared:
    """Compare the policy of a pull request with the base branch's.

    Args:
        project: the pull request's configuration.
        registered: ``data.json`` of the registered model, if there is one.
        rows: of the evaluation sets now, by name.

    """
    event = github.event()
    if event.pull_request is None:
        return Compared(checks=[], section={})
    base = str((event.pull_request.get("base") or {}).get("sha") or "")
    section: dict[str, Any] = {"base": base, "changes": [], "approval": None}
    try:
        changes, label = _changes(project, first=registered is None)
    except (ConfigurationError, Failure) as problem:
        message = f"The policy of the base branch cannot be read: {problem.message}"
        return Compared(checks=[check(NAME, "inconclusive", message=message)], section=section)
    old = {name: part["rows"] for name, part in (registered or {}).get("evaluation", {}).items()}
    known = {name: count for name, count in old.items() if name in rows}
    changes += [
        change for change in shrunk(known, rows) if (change.after or 0) < SHRUNK * change.before
    ]
    section["changes"] = [
        {"where": ".".join(change.where), "effect": change.effect, "text": change.text}
        for change in changes
    ]
    loose = [change for change in changes if change.needs_approval]
    if not loose:
        return Compared(checks=[check(NAME, "pass", 0, 0)], section=section)
    listed = "; ".join(change.text for change in loose[:5])
    if len(loose) > 5:  # noqa: PLR2004
        listed += f"; and {len(loose) - 5} more"
    what = f"This pull request changes what the gate asks: {listed}."
    found, section["approval"] = _approval(label, what, len(loose))
    return Compared(checks=[found], section=section)


def _approval(label: str, what: str, count: int) -> tuple[Check, dict[str, Any] | None]:
    """Look for the label, and at who set it when."""
    how = (
        f"Someone with write access who is not the author approves it with the label {label}, set "
        "after the newest commit."
    )
    event = github.event()
    request = event.pull_request or {}
    token = os.environ.get("GITHUB_TOKEN")
    if not token:
        message = f"{what} {how} Without a token (input: github-token) it cannot be seen."
        return check(NAME, "inconclusive", count, 0, message), None
    try:
        found = github.labelled(number=int(request["number"]), label=label, token=token)
        author = str(request["user"]["login"])
        moved = datetime.datetime.fromisoformat(request["updated_at"])
    except Failure as problem:
        return check(NAME, "inconclusive", count, 0, f"{what} {problem.message}"), None
    except (KeyError, TypeError, ValueError):
        message = f"{what} The event does not say who opened the pull request, and when it changed."
        return check(NAME, "inconclusive", count, 0, message), None
    if found is None:
        return check(NAME, "fail", count, 0, f"{what} {how}"), None
    # The event of the label itself says what the newest commit was; else it must be the younger.
    by_label = event.payload.get("action") == "labeled" and (
        (event.payload.get("label") or {}).get("name") == label
    )
    reason = None
    if found.who.lower() == author.lower():
        reason = f"The label {label} was set by the author."
    elif found.is_bot:
        reason = f"The label {label} was set by {found.who}, which is no person."
    elif not found.may_write:
        reason = f"The label {label} was set by {found.who}, who has no write access."
    elif not by_label and found.when <= moved:
        reason = f"The label {label} is older than the newest commit: remove it and set it again."
    if reason:
        return check(NAME, "fail", count, 0, f"{what} {reason} {how}"), None
    record = {
        "label": label,
        "who": found.who,
        "when": found.when.isoformat(),
        "head": (request.get("head") or {}).get("sha"),
    }
    return check(
        NAME, "pass", count, 0, f"{what} {found.who} approved it.", approval=record
    ), record


# --- What changed ------------------------------------------------------------------------------


def _changes(project: Project, *, first: bool) -> tuple[list[Change], str]:
    """Give the changes, and the label by which the policy in force lets them be approved."""
    top = Path(git(project.folder, "rev-parse", "--show-toplevel").strip()).resolve()
    tree = _Tree(top=top, commit=fetch_base(top))
    folder = project.folder.resolve().relative_to(top)
    text = tree.read(folder / project.file.name)
    if text is None:
        # A first model has no policy yet. With a registered one, the policy was elsewhere.
        if first:
            return [], _LABEL
        where = (project.file.name,)
        moved = Change(where=where, effect="different", before=None, after="another policy")
        return [moved], _LABEL
    old = config.parse(text, project.file).config
    found = policy_changes(old, project.config)
    head = _Tree(top=top, commit="HEAD")
    named = _files(old)
    for key, paths in _files(old, project.config).items():
        for path in paths:
            # A new file may stand before one that was there; what names it newly has changed, too.
            added: Effect = "different" if path in named[key] else "stricter"
            found += _file_changes(key, folder / path, tree, head, added=added)
    return sorted(found, key=lambda change: change.where), old.gate.approval_label


def _file_changes(
    key: str, path: PurePosixPath | Path, old: _Tree, new: _Tree, *, added: Effect
) -> Iterator[Change]:
    before, after = old.digest(path), new.digest(path)
    if before == after:
        return
    effect: Effect = "different"
    if before is None:
        effect = added
    elif after is None:
        effect = "looser"
    short = [None if digest is None else digest[:12] for digest in (before, after)]
    yield Change(where=(key, str(path)), effect=effect, before=short[0], after=short[1])


def _files(*configs: Config) -> dict[str, list[str]]:
    """Give the files of a project that say what a verdict means, by the key that names them."""
    found: dict[str, list[str]] = {"data.schema": [], "score": [], "gate.behaviour.tests": []}
    for one in configs:
        schema = one.data.schema_
        if schema and schema.endswith((".yaml", ".yml")):
            found["data.schema"].append(schema)
        elif schema:
            found["data.schema"] += _modules(schema)
        if one.score:
            found["score"] += _modules(one.score)
        if one.gate.behaviour and one.gate.behaviour.tests:
            tests = PurePosixPath(one.gate.behaviour.tests)
            # A conftest.py above them could replace the fixture that they predict with.
            above = [str(folder / "conftest.py") for folder in tests.parents]
            found["gate.behaviour.tests"] += [str(tests), *above]
    return {key: list(dict.fromkeys(paths)) for key, paths in found.items()}


def _modules(named: str) -> list[str]:
    """Give where the module of ``package.module:name`` may lie."""
    path = named.partition(":")[0].replace(".", "/")
    places = [f"{path}.py", f"{path}/__init__.py"]
    return [*places, *(f"src/{place}" for place in places)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tree:
    """The files of a commit."""

    top: Path
    commit: str

    def digest(self, path: PurePosixPath | Path) -> str | None:
        """Give git's name of a file's content, or ``None`` where there is no such file.

        Raises :class:`Failure` for a symbolic link: its content says nothing of what is read.
        """
        listed = git(self.top, "ls-tree", self.commit, "--", path.as_posix())
        if not listed.strip():
            return None
        mode, _, digest = listed.split()[:3]
        if mode == _LINK:
            raise Failure(f"{path} is a symbolic link; what a verdict rests on is a file.")
        return digest

    def read(self, path: PurePosixPath | Path) -> str | None:
        """Give a file's text."""
        digest = self.digest(path)
        if digest is None:
            return None
        try:
            return git(self.top, "cat-file", "blob", digest)
        except UnicodeDecodeError:
            raise Failure(f"{path} is not UTF-8.") from None
