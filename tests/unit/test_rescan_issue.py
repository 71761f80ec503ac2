"""One issue about an image in use, against a server that keeps issues as GitHub does."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mlops_actions import github
from mlops_actions.errors import Failure
from mlops_actions.rescan import issue
from mlops_actions.rescan.issue import marker

MARK = marker("late-flights", "auto")
CLOSING = "The image passes its scan again."


class GitHub:
    """Issues of one repository, two a page."""

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.comments: list[tuple[int, str]] = []
        self.refuse = 0
        self.url = ""

    def add(self, body: str | None, kind: str = "Bot", **more: Any) -> dict[str, Any]:
        number = len(self.issues) + 1
        issue = {
            "number": number,
            "title": "t",
            "body": body,
            "state": "open",
            "user": {"type": kind},
            "html_url": f"https://github.com/o/r/issues/{number}",
            **more,
        }
        self.issues.append(issue)
        return issue

    @property
    def open(self) -> list[int]:
        return [one["number"] for one in self.issues if one["state"] == "open"]


@pytest.fixture
def server(monkeypatch):
    kept = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, document: Any, status: int = 200, link: str = "") -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            if link:
                self.send_header("Link", f'<{link}>; rel="next"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            query = {key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()}
            page = int(query.get("page", 1))
            found = [one for one in kept.issues if one["state"] == query["state"]]
            more = self.path.partition("&page=")[0] + f"&page={page + 1}"
            link = f"{kept.url}{more}" if len(found) > page * 2 else ""
            self.answer(found[page * 2 - 2 : page * 2], link=link)

        def write(self) -> None:
            length = int(self.headers["Content-Length"])
            sent = json.loads(self.rfile.read(length))
            if kept.refuse or self.headers["Authorization"] != "Bearer secret":
                self.answer({}, kept.refuse or 401)
                return
            parts = self.path.strip("/").split("/")[3:]
            if len(parts) == 1:
                self.answer(kept.add(**sent), 201)
            elif len(parts) == 3:
                kept.comments.append((int(parts[1]), sent["body"]))
                self.answer({}, 201)
            else:
                kept.issues[int(parts[1]) - 1].update(sent)
                self.answer({})

        def do_POST(self) -> None:
            self.write()

        def do_PATCH(self) -> None:
            self.write()

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("GITHUB_API_URL", kept.url)
    monkeypatch.setenv("GITHUB_REPOSITORY", "o/r")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    github.event.cache_clear()
    yield kept
    http.shutdown()
    http.server_close()
    github.event.cache_clear()


def keep(body: str | None, title: str = "The image fails its scan") -> str:
    return issue.keep(title, body, mark=MARK, token="secret", closing=CLOSING).outcome  # noqa: S106


def test_one_issue_is_opened_kept_and_closed(server):
    assert keep(None) == "none"
    assert keep("two findings") == "opened"
    assert server.issues[0]["body"] == f"{MARK}\ntwo findings"
    assert keep("two findings") == "unchanged"
    assert keep("three findings") == "updated"
    assert server.issues[0]["body"].endswith("three findings")
    assert server.open == [1]
    assert keep(None) == "closed"
    assert server.open == []
    assert server.comments == [(1, CLOSING)]
    assert keep("again") == "opened"
    assert server.open == [2]


def test_others_issues_are_left_alone(server):
    server.add(f"{MARK}\nmine", kind="User")
    server.add(f"{MARK}\nmine", pull_request={})
    server.add(f"quoted: {MARK}\n")
    server.add(marker("late-flights", "champion") + "\n")
    server.add(None)
    assert keep(None) == "none"
    assert keep("one finding") == "opened"
    assert server.open == [1, 2, 3, 4, 5, 6]


def test_it_is_found_on_a_later_page_and_its_doubles_are_closed(server):
    for _ in range(4):
        server.add("something else")
    server.add(f"{MARK}\nold")
    server.add(f"{MARK}\nold")
    assert keep("new") == "updated"
    assert server.open == [1, 2, 3, 4, 5]
    assert server.comments == [(6, "See #5.")]


def test_a_body_fits(server):
    assert keep("x" * 70_000) == "opened"
    assert len(server.issues[0]["body"]) == 65_536
    assert server.issues[0]["body"].endswith("in the evidence of the run.")
    assert keep("x" * 70_000) == "unchanged"


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_alert_that_nobody_gets_is_a_failure(server, status):
    server.refuse = status
    with pytest.raises(Failure, match=f"GitHub answered {status}.*issues: write"):
        keep("one finding")


@pytest.mark.usefixtures("server")
def test_a_server_that_is_not_there(monkeypatch):
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:1")
    with pytest.raises(Failure, match="could not be written"):
        keep("one finding")
