"""The events a local run can stand for: their JSON, and the variables GitHub derives from it."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops_actions.errors import ConfigurationError
from mlops_actions.local import origin as bare
from mlops_actions.local.origin import Snapshot

NAMES = ("pull_request", "push", "workflow_dispatch", "schedule", "repository_dispatch")
DEPENDABOT = "dependabot[bot]"
_BEFORE_FIRST = "0" * 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What the caller asked for."""

    name: str
    inputs: Mapping[str, str]
    actor: str
    fork: bool
    labels: Sequence[str]
    base: str | None
    activity: str | None

    @property
    def from_fork(self) -> bool:
        """Whether GitHub would give the run no secrets and a token that only reads."""
        return self.name == "pull_request" and self.fork

    @property
    def restricted(self) -> bool:
        """Whether GitHub would withhold the repository's secrets; Dependabot has its own."""
        return self.from_fork or self.actor == DEPENDABOT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """An event that happened to the bare copy."""

    name: str
    payload: dict[str, Any]
    ref: str
    commit: str
    branch: str  # What the ``branches:`` filter of a workflow looks at.
    activity: str | None
    title: str

    def environment(self, slug: str, actor: str) -> dict[str, str]:
        """Give the variables that a runner sets for this event, which ``actor`` made happen."""
        request = self.payload.get("pull_request")
        return {
            "GITHUB_REPOSITORY": slug,
            "GITHUB_REPOSITORY_OWNER": slug.split("/", maxsplit=1)[0],
            "GITHUB_REF": self.ref,
            "GITHUB_HEAD_REF": request["head"]["ref"] if request else "",
            "GITHUB_BASE_REF": request["base"]["ref"] if request else "",
            "SHA_REF": self.commit,  # act's name for GITHUB_SHA, when it is given from outside.
            "GITHUB_TRIGGERING_ACTOR": actor,
        }


def _user(login: str) -> dict[str, Any]:
    kind = "Bot" if login.endswith("[bot]") else "User"
    return {"login": login, "id": 1, "type": kind, "site_admin": False}


def _repository(slug: str, default_branch: str, *, fork: bool = False) -> dict[str, Any]:
    owner, name = slug.split("/")
    return {
        "id": 1,
        "name": name,
        "full_name": slug,
        "private": False,
        "fork": fork,
        "default_branch": default_branch,
        "owner": _user(owner),
        "html_url": f"https://github.com/{slug}",
        "clone_url": f"https://github.com/{slug}.git",
    }


def _number(memory: Path, branch: str) -> int:
    """Give a branch's pull request the same number in every run."""
    known: dict[str, int] = json.loads(memory.read_text()) if memory.is_file() else {}
    if branch not in known:
        known[branch] = max(known.values(), default=0) + 1
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(known, indent=2) + "\n")
    return known[branch]


def _author(memory: Path, number: int, actor: str) -> str:
    """Give who opened a pull request: whoever let its first event happen."""
    place = memory.with_name("authors.json")
    known: dict[str, str] = json.loads(place.read_text()) if place.is_file() else {}
    if str(number) not in known:
        known[str(number)] = actor
        place.write_text(json.dumps(known, indent=2) + "\n")
    return known[str(number)]


def _pull_request(
    request: Request, snapshot: Snapshot, origin: Path, memory: Path, payload: dict[str, Any]
) -> Event:
    base_name = request.base or snapshot.default_branch
    base = bare.resolve(origin, base_name)
    head_name = snapshot.branch if snapshot.branch != base_name else "local-change"
    number = _number(memory, f"fork:{head_name}" if request.fork else head_name)
    owner, name = snapshot.slug.split("/")
    head_owner = "someone-else" if request.fork else owner
    head_repository = _repository(
        f"{head_owner}/{name}", snapshot.default_branch, fork=request.fork
    )
    merged = bare.merge(origin, base, snapshot.head)
    if not request.fork:
        bare.set_ref(origin, f"refs/heads/{head_name}", snapshot.head)
    bare.set_ref(origin, f"refs/pull/{number}/head", snapshot.head)
    bare.set_ref(origin, f"refs/pull/{number}/merge", merged)
    activity = request.activity or "synchronize"
    payload |= {
        "action": activity,
        "number": number,
        "pull_request": {
            "id": number,
            "number": number,
            "state": "open",
            "draft": False,
            "merged": False,
            "title": f"Changes on {head_name}",
            "body": None,
            "user": _user(_author(memory, number, head_owner if request.fork else request.actor)),
            "updated_at": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "labels": [{"id": i, "name": label} for i, label in enumerate(request.labels, 1)],
            "html_url": f"https://github.com/{snapshot.slug}/pull/{number}",
            "head": {
                "label": f"{head_owner}:{head_name}",
                "ref": head_name,
                "sha": snapshot.head,
                "repo": head_repository,
                "user": _user(head_owner),
            },
            "base": {
                "label": f"{owner}:{base_name}",
                "ref": base_name,
                "sha": base,
                "repo": payload["repository"],
                "user": _user(owner),
            },
            "merge_commit_sha": merged,
        },
    }
    if activity in {"labeled", "unlabeled"} and request.labels:
        payload["label"] = {"id": 1, "name": request.labels[-1]}
    return Event(
        name="pull_request",
        payload=payload,
        ref=f"refs/pull/{number}/merge",
        commit=merged,
        branch=base_name,
        activity=activity,
        title=f"pull_request {number}: {head_name} into {base_name}"
        + (", from a fork" if request.fork else ""),
    )


def _push(snapshot: Snapshot, origin: Path, payload: dict[str, Any]) -> Event:
    ref = f"refs/heads/{snapshot.branch}"
    bare.set_ref(origin, ref, snapshot.head)
    commit = {
        "id": snapshot.head,
        "message": bare.git("show", "--no-patch", "--format=%B", snapshot.head, cwd=origin),
        "timestamp": bare.git("show", "--no-patch", "--format=%cI", snapshot.head, cwd=origin),
    }
    owner = snapshot.slug.split("/")[0]
    payload |= {
        "ref": ref,
        "before": snapshot.before or _BEFORE_FIRST,
        "after": snapshot.head,
        "created": snapshot.before is None,
        "deleted": False,
        "forced": False,
        "head_commit": commit,
        "commits": [commit],
        "pusher": {"name": payload["sender"]["login"], "email": f"{owner}@localhost"},
    }
    return Event(
        name="push",
        payload=payload,
        ref=ref,
        commit=snapshot.head,
        branch=snapshot.branch,
        activity=None,
        title=f"push to {snapshot.branch}",
    )


def happen(request: Request, snapshot: Snapshot, origin: Path, memory: Path) -> Event:
    """Let an event happen to the bare copy.

    ``memory`` is the file that keeps pull requests' numbers. A pull request gets the merge commit
    that GitHub would make. ``schedule`` and ``repository_dispatch`` run on the default branch, at
    what is checked out if that is the default branch.

    Raises:
        ConfigurationError: the event is unknown, or an option does not belong to it.

    """
    if request.name not in NAMES:
        known = ", ".join(NAMES)
        raise ConfigurationError(f"unknown event {request.name!r}; one of: {known}.")
    if request.name != "pull_request" and (request.fork or request.labels or request.base):
        raise ConfigurationError("--fork, --label and --base belong to pull_request.")
    if request.inputs and request.name not in {"workflow_dispatch", "repository_dispatch"}:
        raise ConfigurationError(f"{request.name} takes no --input.")
    payload: dict[str, Any] = {
        "repository": _repository(snapshot.slug, snapshot.default_branch),
        "sender": _user(request.actor),
    }
    if request.name == "pull_request":
        return _pull_request(request, snapshot, origin, memory, payload)
    if request.name == "push":
        return _push(snapshot, origin, payload)
    activity = None
    branch = snapshot.branch
    if request.name == "workflow_dispatch":
        payload |= {"inputs": dict(request.inputs), "ref": f"refs/heads/{branch}"}
    else:
        branch = snapshot.default_branch
        if request.name == "schedule":
            # GitHub documents nothing else of it: what a workflow reads besides may not be there.
            payload = {"schedule": datetime.datetime.now(tz=datetime.UTC).strftime("%M %H * * *")}
        else:
            activity = request.activity or "local"
            payload |= {
                "action": activity,
                "branch": branch,
                "client_payload": dict(request.inputs),
            }
    ref = f"refs/heads/{branch}"
    if branch == snapshot.branch:
        bare.set_ref(origin, ref, snapshot.head)
    return Event(
        name=request.name,
        payload=payload,
        ref=ref,
        commit=bare.resolve(origin, branch),
        branch=branch,
        activity=activity,
        title=f"{request.name} on {branch}",
    )
