"""A double of the part of GitHub's REST API that this project calls, on loopback.

Comments, issues and dispatches are kept in a folder, so that a second run finds what the first one
wrote.
"""

from __future__ import annotations

import datetime
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

COMMENT_LIMIT = 65_536  # Characters; GitHub refuses a longer body.
TITLE_LIMIT = 256
_FIRST_ISSUE = 1001  # Pull requests are numbered from 1, and share the numbers.
_BOT = {"login": "github-actions[bot]", "id": 41898282, "type": "Bot"}
_DENIED = "Resource not accessible by integration"


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """What GitHub would know of one repository.

    ``token`` is the only one it takes. A read-only token, as forks get, cannot write: 403,
    with GitHub's words.
    """

    def __init__(
        self, folder: Path, slug: str, token: str, event: dict[str, Any], *, read_only: bool
    ) -> None:
        self.folder = folder
        self.slug = slug
        self.token = token
        self.event = event
        self.read_only = read_only
        self.url = ""
        self.lock = threading.Lock()

    def repository(self, _body: object) -> dict[str, Any]:
        """GET the repository: a public one, as the events say that name it."""
        known = {"full_name": self.slug, "private": False}
        return {**known, **(self.event.get("repository") or {})}

    def comments(self) -> list[dict[str, Any]]:
        """Give all comments, oldest first."""
        return self._read("comments.json")

    def issues(self) -> list[dict[str, Any]]:
        """Give all issues, oldest first; pull requests are not among them."""
        return self._read("issues.json")

    def dispatches(self) -> list[dict[str, Any]]:
        """Give every ``repository_dispatch`` that was asked for."""
        return self._read("dispatches.json")

    def _read(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    def _write(self, name: str, data: list[dict[str, Any]]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / f"{name}.new"
        new.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        new.replace(self.folder / name)

    def _keep_comment(self, comment: dict[str, Any]) -> None:
        folder = self.folder / "comments"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{comment['id']}.md").write_text(comment["body"], encoding="utf-8")

    def may_write(self) -> None:
        """Refuse when the token may only read."""
        if self.read_only:
            raise _Refused(HTTPStatus.FORBIDDEN, _DENIED)

    def list_comments(self, number: str, _body: object) -> list[dict[str, Any]]:
        """GET /issues/N/comments."""
        ending = f"/issues/{number}"
        return [one for one in self.comments() if one["issue_url"].endswith(ending)]

    def get_comment(self, comment_id: str, _body: object) -> dict[str, Any]:
        """GET /issues/comments/ID."""
        for comment in self.comments():
            if comment["id"] == int(comment_id):
                return comment
        raise _Refused(HTTPStatus.NOT_FOUND, "Not Found")

    def _text(self, body: Any) -> str:
        text = body.get("body") if isinstance(body, dict) else None
        if not isinstance(text, str) or not text or len(text) > COMMENT_LIMIT:
            raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "Validation Failed")
        return text

    def create_comment(self, number: str, body: object) -> dict[str, Any]:
        """POST /issues/N/comments."""
        self.may_write()
        text = self._text(body)
        comments = self.comments()
        new_id = max((one["id"] for one in comments), default=0) + 1
        kind = "issues" if int(number) >= _FIRST_ISSUE else "pull"
        page = f"https://github.com/{self.slug}/{kind}/{number}#issuecomment-{new_id}"
        now = _now()
        comment = {
            "id": new_id,
            "url": f"{self.url}/repos/{self.slug}/issues/comments/{new_id}",
            "html_url": page,
            "issue_url": f"{self.url}/repos/{self.slug}/issues/{number}",
            "user": _BOT,
            "created_at": now,
            "updated_at": now,
            "body": text,
        }
        self._write("comments.json", [*comments, comment])
        self._keep_comment(comment)
        return comment

    def update_comment(self, comment_id: str, body: object) -> dict[str, Any]:
        """PATCH /issues/comments/ID."""
        self.may_write()
        text = self._text(body)
        comments = self.comments()
        for comment in comments:
            if comment["id"] == int(comment_id):
                comment |= {"body": text, "updated_at": _now()}
                self._write("comments.json", comments)
                self._keep_comment(comment)
                return comment
        raise _Refused(HTTPStatus.NOT_FOUND, "Not Found")

    def _issue(self, number: str, issues: list[dict[str, Any]]) -> dict[str, Any]:
        for issue in issues:
            if issue["number"] == int(number):
                return issue
        raise _Refused(HTTPStatus.NOT_FOUND, "Not Found")

    def list_issues(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        """GET /issues: the newest first, unless direction is asc."""
        state = query.get("state", ["open"])[0]
        found = [one for one in self.issues() if state in {one["state"], "all"}]
        return found if query.get("direction") == ["asc"] else found[::-1]

    def create_issue(self, body: object) -> dict[str, Any]:
        """POST /issues."""
        self.may_write()
        asked = self._wanted(body, required=("title",))
        issues = self.issues()
        number = max((one["number"] for one in issues), default=_FIRST_ISSUE - 1) + 1
        now = _now()
        issue = {
            "number": number,
            "url": f"{self.url}/repos/{self.slug}/issues/{number}",
            "html_url": f"https://github.com/{self.slug}/issues/{number}",
            "user": _BOT,
            "state": "open",
            "body": None,
            "created_at": now,
            "updated_at": now,
            **asked,
        }
        self._write("issues.json", [*issues, issue])
        return issue

    def get_issue(self, number: str, _body: object) -> dict[str, Any]:
        """GET /issues/N: a pull request is an issue, too."""
        if int(number) < _FIRST_ISSUE:
            return self._request(number)
        return self._issue(number, self.issues())

    def update_issue(self, number: str, body: object) -> dict[str, Any]:
        """PATCH /issues/N."""
        self.may_write()
        asked = self._wanted(body)
        issues = self.issues()
        issue = self._issue(number, issues)
        issue |= {**asked, "updated_at": _now()}
        self._write("issues.json", issues)
        return issue

    def _wanted(self, body: Any, required: tuple[str, ...] = ()) -> dict[str, Any]:
        """Check what is asked of an issue, as GitHub does."""
        limits = {"title": TITLE_LIMIT, "body": COMMENT_LIMIT, "state": 6, "state_reason": 12}
        asked: dict[str, Any] = body if isinstance(body, dict) else {}
        known = {key: asked[key] for key in limits if key in asked}
        wrong = [
            key
            for key, value in known.items()
            if not isinstance(value, str) or not value or len(value) > limits[key]
        ]
        states = {"open", "closed"}
        missing = [key for key in required if key not in known]
        if wrong or missing or not known or known.get("state", "open") not in states:
            raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "Validation Failed")
        return known

    def _request(self, number: str) -> dict[str, Any]:
        request: dict[str, Any] = self.event.get("pull_request") or {}
        if request.get("number") != int(number):
            raise _Refused(HTTPStatus.NOT_FOUND, "Not Found")
        return request

    def pull_request(self, number: str, _body: object) -> dict[str, Any]:
        """GET /pulls/N."""
        return self._request(number)

    def labels(self, number: str, _body: object) -> list[dict[str, Any]]:
        """GET /issues/N/labels."""
        labels: list[dict[str, Any]] = self._request(number)["labels"]
        return labels

    def label_events(self, number: str, _body: object) -> list[dict[str, Any]]:
        """GET /issues/N/events and /timeline: who set the labels.

        The label that the event is about was set by it; the others were there an hour before.
        """
        request = self._request(number)
        now = datetime.datetime.fromisoformat(request["updated_at"])
        before = _stamp(now - datetime.timedelta(hours=1))
        new = (self.event.get("label") or {}).get("name")
        return [
            {
                "id": i,
                "event": "labeled",
                "actor": self.event["sender"],
                "label": {"name": label["name"]},
                "created_at": _stamp(now) if label["name"] == new else before,
            }
            for i, label in enumerate(request["labels"], 1)
        ]

    def permission(self, login: str, _body: object) -> dict[str, Any]:
        """GET /collaborators/LOGIN/permission."""
        owner = login == (self.event.get("sender") or {}).get("login")
        return {"permission": "write" if owner else "read", "user": {"login": login}}

    def dispatch(self, body: object) -> None:
        """POST /dispatches."""
        self.may_write()
        if not isinstance(body, dict) or not body.get("event_type"):
            raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid request.")
        self._write("dispatches.json", [*self.dispatches(), body])


def _stamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _now() -> str:
    return _stamp(datetime.datetime.now(tz=datetime.UTC))


_Answer = Callable[..., Any]
_ROUTES: list[tuple[str, str, str]] = [
    ("GET", r"", "repository"),
    ("GET", r"/issues/(\d+)/comments", "list_comments"),
    ("POST", r"/issues/(\d+)/comments", "create_comment"),
    ("GET", r"/issues/comments/(\d+)", "get_comment"),
    ("PATCH", r"/issues/comments/(\d+)", "update_comment"),
    ("GET", r"/issues", "list_issues"),
    ("POST", r"/issues", "create_issue"),
    ("GET", r"/issues/(\d+)", "get_issue"),
    ("PATCH", r"/issues/(\d+)", "update_issue"),
    ("GET", r"/pulls/(\d+)", "pull_request"),
    ("GET", r"/issues/(\d+)/labels", "labels"),
    ("GET", r"/issues/(\d+)/(?:events|timeline)", "label_events"),
    ("GET", r"/collaborators/([^/]+)/permission", "permission"),
    ("POST", r"/dispatches", "dispatch"),
]


class _Handler(BaseHTTPRequestHandler):
    api: Api
    protocol_version = "HTTP/1.1"

    def _route(self) -> tuple[HTTPStatus, Any, dict[str, str]]:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)  # Read always: the connection is used again.
        given = (self.headers.get("Authorization") or "").split(" ")[-1]
        if given != self.api.token:
            raise _Refused(HTTPStatus.UNAUTHORIZED, "Bad credentials")
        address = urlsplit(self.path)
        prefix = f"/repos/{self.api.slug}"
        if not address.path.startswith(prefix):
            raise _Refused(HTTPStatus.NOT_FOUND, "Not Found")
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            raise _Refused(HTTPStatus.BAD_REQUEST, "Problems parsing JSON") from None
        for method, pattern, name in _ROUTES:
            found = re.fullmatch(pattern, address.path.removeprefix(prefix))
            if found and method == self.command:
                if method == "GET":
                    body = parse_qs(address.query)
                with self.api.lock:
                    answer = getattr(self.api, name)(*found.groups(), body)
                if answer is None:
                    return HTTPStatus.NO_CONTENT, None, {}
                if method == "POST":
                    return HTTPStatus.CREATED, answer, {}
                if isinstance(answer, list):
                    return self._page(answer, address.path, parse_qs(address.query))
                return HTTPStatus.OK, answer, {}
        raise _Refused(
            HTTPStatus.NOT_FOUND, f"mlops-actions local does not answer {self.command} {self.path}"
        )

    def _page(
        self, everything: list[Any], path: str, query: dict[str, list[str]]
    ) -> tuple[HTTPStatus, Any, dict[str, str]]:
        size = min(100, int(query.get("per_page", ["30"])[0]))
        page = int(query.get("page", ["1"])[0])
        pages = max(1, -(-len(everything) // size))
        links = []
        for name, number in (("next", page + 1), ("last", pages)):
            if page < pages:
                asked = {**query, "per_page": [str(size)], "page": [str(number)]}
                links.append(f'<{self.api.url}{path}?{urlencode(asked, True)}>; rel="{name}"')
        shown = everything[(page - 1) * size : page * size]
        return HTTPStatus.OK, shown, {"Link": ", ".join(links)} if links else {}

    def _answer(self) -> None:
        try:
            status, answer, headers = self._route()
        except _Refused as refused:
            status, answer, headers = refused.status, {"message": str(refused)}, {}
        body = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 - http.server's names.

    def log_message(self, *_: object) -> None:
        """Say nothing: the steps' own log tells what was called."""


@contextmanager
def serve(api: Api) -> Iterator[str]:
    """Answer on a free port of loopback as long as the block runs; give the address."""
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield api.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
