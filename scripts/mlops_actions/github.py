"""Everything that knows GitHub: messages, outputs, summary, the event, comments.

Off GitHub the same calls print plain text, so every command works in a terminal. Messages go to
standard error: standard output is for data, and the runner reads the two without their order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlops_actions.errors import ConfigurationError, Failure

COMMENT_LIMIT = 65_536  # Characters; GitHub refuses a longer comment.
SHORTEST_MASKED = 6  # Characters.
_TIMEOUT = 30  # Seconds for one call of the REST API.
_COMMAND = re.compile(r"(^|[\r\n])(\s*)::")


def on_github() -> bool:
    """Say whether a workflow runs us."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _escape(text: str, *, is_property: bool = False) -> str:
    # The workflow command syntax: a raw newline would end the command, and what follows could be
    # another one.
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if is_property else text


def annotate(level: str, message: str, **where: object) -> None:
    """Print an annotation (``notice``, ``warning`` or ``error``), or its plain form off GitHub."""
    if on_github():
        properties = ",".join(
            f"{key}={_escape(str(value), is_property=True)}"
            for key, value in where.items()
            if value is not None
        )
        head = f"::{level} {properties}::" if properties else f"::{level}::"
        print(head + _escape(message), file=sys.stderr, flush=True)
    else:
        place = ":".join(str(where[key]) for key in ("file", "line", "col") if where.get(key))
        prefix = f"{place}: " if place else ""
        print(f"{level}: {prefix}{message}", file=sys.stderr, flush=True)


def _harmless(text: str) -> str:
    """Give a text in which the runner finds no workflow command.

    Source: ActionCommand.cs of actions/runner. ``::`` counts after any white space, and the older
    ``##[`` wherever it stands in a line.
    """
    return _COMMAND.sub(r"\1\2| ::", text).replace("##[", "## [") if on_github() else text


def info(message: str) -> None:
    """Print a line of progress. A line can never be read as a workflow command."""
    print(_harmless(message), file=sys.stderr, flush=True)


def show(data: str) -> None:
    """Print a command's data to standard output, as harmless as a line of progress."""
    print(_harmless(data), flush=True)


def warning(message: str, **where: object) -> None:
    """Print a warning."""
    annotate("warning", message, **where)


def error(message: str, **where: object) -> None:
    """Print an error."""
    annotate("error", message, **where)


def report_failure(failure: Failure) -> None:
    """Print a :class:`Failure` once, with its place."""
    error(failure.message, file=failure.file, line=failure.line, col=failure.column)


@contextlib.contextmanager
def group(title: str) -> Iterator[None]:
    """Fold what is printed inside, on GitHub."""
    print(f"::group::{_escape(title)}" if on_github() else title, file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if on_github():
            print("::endgroup::", file=sys.stderr, flush=True)


@contextlib.contextmanager
def untrusted_output() -> Iterator[None]:
    """Let a user's program print what it likes: the runner obeys no command in it.

    It must print to standard error, as we do: else the runner could read the end before the rest.
    Source: "Stopping and starting workflow commands", GitHub Actions documentation.
    """
    word = secrets.token_hex(16)
    if on_github():
        print(f"::stop-commands::{word}", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if on_github():
            # On a line of its own: the program's last line need not have ended.
            print(f"\n::{word}::", file=sys.stderr, flush=True)


def mask(value: str) -> bool:
    """Keep each line of a value out of the log from here on; say whether all of it is.

    A short line is not: the runner drops every output of the job that holds a masked value, and
    ``4`` is in most digests. Source: FinalizeJob in JobExtension.cs of actions/runner.
    """
    lines = [line for line in value.splitlines() if line.strip()]
    long = [line for line in lines if len(line.strip()) >= SHORTEST_MASKED]
    if on_github():
        for line in long:
            print(f"::add-mask::{_escape(line)}", file=sys.stderr, flush=True)
    return len(long) == len(lines)


def set_output(name: str, value: str) -> None:
    """Set an output of the running step; off GitHub, do nothing."""
    path = os.environ.get("GITHUB_OUTPUT")
    if path:
        delimiter = f"end-{secrets.token_hex(16)}"  # A value must not be able to end itself.
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")


def add_summary(markdown: str) -> None:
    """Append to the summary of the running step; off GitHub, do nothing."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(markdown.rstrip("\n") + "\n\n")


def boolean(name: str, value: str) -> bool:
    """Read an input that is ``true`` or ``false``; anything else is an error."""
    if value not in {"true", "false"}:
        raise ConfigurationError(f"{name}: expected true or false, not {value!r}.")
    return value == "true"


def plan_has(name: str, value: str) -> bool:
    """Read an input that is true, false or auto: what only every public repository has.

    A schedule's event does not tell, so GitHub is asked. Raises :class:`ConfigurationError` when it
    does not answer: neither is a guess that may stand.
    """
    if value != "auto":
        return boolean(name, value)
    repository = event().payload.get("repository")
    if repository is None and event().repository:
        repository = _ask_for_repository(name)
    return (repository or {}).get("private") is False


def _ask_for_repository(name: str) -> Any:
    import requests

    try:
        answer = _session(os.environ.get("GITHUB_TOKEN", "")).get(_repository(), timeout=_TIMEOUT)
        answer.raise_for_status()
        return answer.json()
    except requests.RequestException as problem:
        raise ConfigurationError(
            f"{name} is auto, and GitHub does not say whether the repository is public "
            f"({problem}): set {name} to true or false."
        ) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """What started the workflow, as far as decisions need it."""

    name: str
    payload: Mapping[str, Any]
    repository: str
    ref: str
    commit: str
    actor: str
    run_id: str
    server: str

    @property
    def default_branch(self) -> str | None:
        """The default branch's name, when the event carries it."""
        value = self.payload.get("repository", {}).get("default_branch")
        return value if isinstance(value, str) and value else None

    @property
    def on_default_branch(self) -> bool:
        """Whether the run's ref is the default branch. A pull request's never is.

        A schedule's always is, and its payload need not name a repository at all. Source: "Events
        that trigger workflows", schedule.
        """
        if self.name == "schedule":
            return True
        branch = self.default_branch
        return branch is not None and self.ref == f"refs/heads/{branch}"

    def require_default_branch(self, does: str) -> None:
        """Raise :class:`ConfigurationError` on another ref: only the default branch ``does`` this.

        Off GitHub there is no event, and no ref to ask about.
        """
        if self.name and not self.on_default_branch:
            raise ConfigurationError(
                f"Only the default branch {does}; this run is on {self.ref or 'no ref'}."
            )

    @property
    def pull_request(self) -> Mapping[str, Any] | None:
        """The pull request in the event, if there is one."""
        value = self.payload.get("pull_request")
        return value if isinstance(value, dict) else None

    @property
    def labels(self) -> list[str]:
        """The pull request's labels when the event was sent."""
        request = self.pull_request or {}
        return [label["name"] for label in request.get("labels", [])]

    @property
    def restricted(self) -> str | None:
        """Why this run does not see the repository's secrets; ``None`` if it does.

        A fork's has none, and a token that only reads. Dependabot's has Dependabot secrets, and the
        rights that ``permissions`` grants. Source: "Approving workflow runs from forks" and
        "Troubleshooting Dependabot on GitHub Actions".
        """
        request = self.pull_request
        if request is not None:
            head = (request.get("head") or {}).get("repo") or {}
            if head.get("full_name") != self.repository:
                return "the pull request comes from a fork"
        if self.actor == "dependabot[bot]":
            return "Dependabot started the run, which sees Dependabot secrets alone"
        return None

    @property
    def run_url(self) -> str | None:
        """The page of this run."""
        if not (self.repository and self.run_id):
            return None
        return f"{self.server}/{self.repository}/actions/runs/{self.run_id}"


@functools.cache
def event() -> Event:
    """Read the event from the environment; off GitHub, an empty one."""
    path = os.environ.get("GITHUB_EVENT_PATH")
    payload: dict[str, Any] = {}
    if path and Path(path).is_file():
        payload = json.loads(Path(path).read_text(encoding="utf-8") or "{}")
    return Event(
        name=os.environ.get("GITHUB_EVENT_NAME", ""),
        payload=payload,
        repository=os.environ.get("GITHUB_REPOSITORY", ""),
        ref=os.environ.get("GITHUB_REF", ""),
        commit=os.environ.get("GITHUB_SHA", ""),
        actor=os.environ.get("GITHUB_ACTOR", ""),
        run_id=os.environ.get("GITHUB_RUN_ID", ""),
        server=os.environ.get("GITHUB_SERVER_URL", "https://github.com"),
    )


def _session(token: str) -> Any:
    import requests

    session = requests.Session()
    session.headers.update(
        {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "X-GitHub-Api-Version": "2022-11-28",
        }
    )
    session.trust_env = True
    return session


def _repository() -> str:
    api = os.environ.get("GITHUB_API_URL", "https://api.github.com")
    return f"{api}/repos/{event().repository}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labelled:
    """Who set a label of a pull request that is there now, and when (GitHub's clock)."""

    who: str
    is_bot: bool
    when: datetime.datetime
    may_write: bool


def labelled(*, number: int, label: str, token: str) -> Labelled | None:
    """Tell who set a label of a pull request last; ``None`` where it is not set now.

    Raises :class:`Failure` when GitHub does not answer, or not in the way that it documents.
    """
    import requests

    session = _session(token)
    last: Mapping[str, Any] | None = None
    try:
        url: str | None = f"{_repository()}/issues/{number}/events?per_page=100"
        while url:
            page = session.get(url, timeout=_TIMEOUT)
            page.raise_for_status()
            for item in page.json():
                if item["event"] in {"labeled", "unlabeled"} and item["label"]["name"] == label:
                    last = item
            url = page.links.get("next", {}).get("url")
        if last is None or last["event"] == "unlabeled":
            return None
        who = str(last["actor"]["login"])
        found = session.get(
            f"{_repository()}/collaborators/{quote(who, safe='')}/permission", timeout=_TIMEOUT
        )
        missing = found.status_code == requests.codes.not_found  # No collaborator, or an app.
        if not missing:
            found.raise_for_status()
        return Labelled(
            who=who,
            is_bot=last["actor"].get("type") == "Bot",
            when=datetime.datetime.fromisoformat(last["created_at"]),
            may_write=not missing and found.json()["permission"] in {"admin", "write"},
        )
    except requests.RequestException as problem:
        status = getattr(problem.response, "status_code", None)
        detail = f"GitHub answered {status}" if status else str(problem)
        raise Failure(f"Who set the label {label} cannot be told: {detail}.") from None
    except (KeyError, TypeError, ValueError):
        raise Failure(
            f"Who set the label {label} cannot be told: GitHub's answer is not as documented."
        ) from None


def upsert_comment(*, number: int, marker: str, body: str, token: str) -> str | None:
    """Keep exactly one comment that begins with ``marker`` on a pull request; give its URL.

    Gives ``None``, after a warning, where the token may not comment (forks): the missing right must
    not change a verdict. ``body`` begins with ``marker`` and fits GitHub's limit.
    """
    import requests

    base = f"{_repository()}/issues"
    session = _session(token)
    if not body.startswith(marker) or len(body) > COMMENT_LIMIT:
        raise ValueError("the comment has no marker, or is longer than GitHub takes")
    try:
        found: str | None = None
        url: str | None = f"{base}/{number}/comments?per_page=100"
        while url and not found:
            page = session.get(url, timeout=_TIMEOUT)
            page.raise_for_status()
            for comment in page.json():
                # Only a bot's: anyone may write a comment that begins with our marker.
                is_bot = (comment.get("user") or {}).get("type") == "Bot"
                if is_bot and str(comment.get("body", "")).startswith(marker):
                    found = f"{base}/comments/{comment['id']}"
                    break
            url = page.links.get("next", {}).get("url")
        if found:
            answer = session.patch(found, json={"body": body}, timeout=_TIMEOUT)
        else:
            answer = session.post(
                f"{base}/{number}/comments", json={"body": body}, timeout=_TIMEOUT
            )
        answer.raise_for_status()
    except requests.RequestException as problem:
        status = getattr(problem.response, "status_code", None)
        detail = f"GitHub answered {status}" if status else str(problem)
        warning(f"The report was not written on the pull request: {detail}.")
        return None
    return str(answer.json().get("html_url") or "") or None
