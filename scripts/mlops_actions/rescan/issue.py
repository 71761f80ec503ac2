"""Keep one issue about an image in use: open while its scan fails, closed when it passes."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, Literal

from mlops_actions import github
from mlops_actions.errors import Failure

if TYPE_CHECKING:
    import requests

Outcome = Literal["opened", "updated", "unchanged", "closed", "none"]

_TIMEOUT = 30  # Seconds for one call.
_LIMIT = 65_536  # Characters; GitHub refuses a longer body.
_CUT = "\n\nThe rest is in the evidence of the run."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Issue:
    """What was done, and the issue's page."""

    outcome: Outcome
    url: str | None


def marker(model: str, alias: str) -> str:
    """Give the hidden first line by which the issue is found again."""
    return f"<!-- mlops-actions: rescan of {model}, {alias} -->"


def keep(title: str, body: str | None, *, mark: str, token: str, closing: str) -> Issue:
    """Open, update or close the issue that ``mark`` names; ``body`` is ``None`` after a pass.

    ``closing`` is the comment with which it is closed.

    Of an issue only what a bot wrote is taken for ours: anyone may write one that begins with our
    marker. Where several are open the oldest is kept up to date and the others are closed.

    Raises :class:`Failure` when GitHub refuses: an alert that nobody gets is no alert. The job
    needs ``issues: write``.
    """
    import requests

    api = os.environ.get("GITHUB_API_URL", "https://api.github.com")
    base = f"{api}/repos/{github.event().repository}/issues"
    with requests.Session() as session:
        session.headers.update(
            {
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {token}",
                "X-GitHub-Api-Version": "2022-11-28",
            }
        )
        try:
            found = _open(session, base, mark)
            if body is None:
                for one in found:
                    _close(session, base, one, closing)
                return Issue(outcome="closed" if found else "none", url=_page(found))
            return _write(session, base, found, {"title": title, "body": _whole(mark, body)})
        except (requests.RequestException, KeyError, TypeError, ValueError) as problem:
            status = getattr(getattr(problem, "response", None), "status_code", None)
            detail = f"GitHub answered {status}" if status else str(problem)
            raise Failure(
                f"The issue about the image could not be written: {detail}. The job needs "
                "issues: write, and the repository must have issues."
            ) from None


def _whole(mark: str, body: str) -> str:
    text = f"{mark}\n{body}"
    return text if len(text) <= _LIMIT else text[: _LIMIT - len(_CUT)] + _CUT


def _open(session: requests.Session, base: str, mark: str) -> list[dict[str, Any]]:
    """Our open issues, the oldest first."""
    found = []
    url: str | None = f"{base}?state=open&sort=created&direction=asc&per_page=100"
    while url:
        page = session.get(url, timeout=_TIMEOUT)
        page.raise_for_status()
        found += [
            one
            for one in page.json()
            if "pull_request" not in one  # A pull request is an issue, too.
            and (one.get("user") or {}).get("type") == "Bot"
            and str(one.get("body") or "").startswith(f"{mark}\n")
        ]
        url = page.links.get("next", {}).get("url")
    return found


def _write(
    session: requests.Session, base: str, found: list[dict[str, Any]], content: dict[str, str]
) -> Issue:
    if not found:
        answer = session.post(base, json=content, timeout=_TIMEOUT)
        answer.raise_for_status()
        return Issue(outcome="opened", url=_page([answer.json()]))
    first, *others = found
    for one in others:
        _close(session, base, one, f"See #{first['number']}.")
    # GitHub stores line ends its own way.
    same = all(str(first[key]).replace("\r\n", "\n") == text for key, text in content.items())
    if not same:
        address = f"{base}/{first['number']}"
        session.patch(address, json=content, timeout=_TIMEOUT).raise_for_status()
    return Issue(outcome="unchanged" if same else "updated", url=_page(found))


def _close(session: requests.Session, base: str, one: dict[str, Any], comment: str) -> None:
    address = f"{base}/{one['number']}"
    said = session.post(f"{address}/comments", json={"body": comment}, timeout=_TIMEOUT)
    said.raise_for_status()
    done = {"state": "closed", "state_reason": "completed"}
    session.patch(address, json=done, timeout=_TIMEOUT).raise_for_status()


def _page(found: list[dict[str, Any]]) -> str | None:
    return str(found[0].get("html_url") or "") or None if found else None
