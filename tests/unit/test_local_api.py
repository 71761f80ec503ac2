"""The double of GitHub's REST API, asked by the code that asks GitHub."""

from __future__ import annotations

import pytest
import requests

from mlops_actions import github
from mlops_actions.errors import ConfigurationError
from mlops_actions.local.api import COMMENT_LIMIT, Api, serve

EVENT = {
    "sender": {"login": "octocat"},
    "label": {"name": "policy-approved"},
    "pull_request": {
        "number": 7,
        "labels": [{"name": "full-training"}, {"name": "policy-approved"}],
        "updated_at": "2027-01-31T12:00:00Z",
    },
}


@pytest.fixture
def double(tmp_path):
    api = Api(tmp_path / "github", "owner/name", "token", EVENT, read_only=False)
    with serve(api):
        yield api


def ask(api, method, path, token="token", **options):  # noqa: S107
    return requests.request(
        method,
        f"{api.url}/repos/owner/name{path}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=5,
        **options,
    )


@pytest.fixture
def scheduled(double, monkeypatch):
    """A run whose event names no repository, as a schedule's does not."""
    monkeypatch.delenv("GITHUB_EVENT_PATH", raising=False)
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    monkeypatch.setenv("GITHUB_API_URL", double.url)
    monkeypatch.setenv("GITHUB_TOKEN", "token")
    github.event.cache_clear()
    yield double
    github.event.cache_clear()


@pytest.mark.parametrize("private", [True, False])
def test_auto_asks_github_where_the_event_does_not_tell(scheduled, private):
    scheduled.event = {"repository": {"private": private}}
    assert github.plan_has("attest", "auto") is not private
    assert github.plan_has("attest", "true")


@pytest.mark.usefixtures("scheduled")
def test_auto_is_no_guess_where_github_does_not_tell(monkeypatch):
    assert github.plan_has("attest", "auto")  # A local run's repository is public.
    monkeypatch.setenv("GITHUB_TOKEN", "another")
    with pytest.raises(ConfigurationError, match=r"401.*set attest to true or false"):
        github.plan_has("attest", "auto")


def test_a_comment_is_kept_changed_and_found_by_another_server(double, tmp_path):
    made = ask(double, "POST", "/issues/7/comments", json={"body": "one"})
    assert made.status_code == 201
    number = made.json()["id"]
    changed = ask(double, "PATCH", f"/issues/comments/{number}", json={"body": "two"})
    assert changed.status_code == 200
    assert (tmp_path / "github" / "comments" / f"{number}.md").read_text() == "two"
    ask(double, "POST", "/issues/8/comments", json={"body": "another's"})

    other = Api(tmp_path / "github", "owner/name", "token", EVENT, read_only=False)
    with serve(other):
        listed = ask(other, "GET", "/issues/7/comments").json()
    assert [comment["body"] for comment in listed] == ["two"]
    assert listed[0]["user"]["type"] == "Bot"


def test_an_issue_is_opened_changed_commented_on_and_closed(double, tmp_path):
    made = ask(double, "POST", "/issues", json={"title": "one", "body": "text"})
    assert made.status_code == 201
    one = made.json()
    assert one["user"]["type"] == "Bot"
    assert ask(double, "GET", f"/issues/{one['number']}").json() == one
    said = ask(double, "POST", f"/issues/{one['number']}/comments", json={"body": "so"})
    assert f"/issues/{one['number']}#" in said.json()["html_url"]
    other = ask(double, "POST", "/issues", json={"title": "two"}).json()
    assert other["number"] == one["number"] + 1
    closing = {"state": "closed", "state_reason": "completed"}
    assert ask(double, "PATCH", f"/issues/{one['number']}", json=closing).json()["title"] == "one"

    again = Api(tmp_path / "github", "owner/name", "token", EVENT, read_only=False)
    with serve(again):
        for query, titles in [
            ("", ["two"]),
            ("?state=closed", ["one"]),
            ("?state=all", ["two", "one"]),
            ("?state=all&direction=asc", ["one", "two"]),
        ]:
            listed = ask(again, "GET", f"/issues{query}").json()
            assert [issue["title"] for issue in listed] == titles
    assert ask(double, "GET", "/issues/7").json()["number"] == 7  # A pull request is one, too.


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/issues", {"body": "no title"}, 422),
        ("POST", "/issues", {"title": "x" * 257}, 422),
        ("POST", "/issues", {"title": "x", "body": "x" * (COMMENT_LIMIT + 1)}, 422),
        ("PATCH", "/issues/1001", {"state": "gone"}, 422),
        ("PATCH", "/issues/1001", {}, 422),
        ("PATCH", "/issues/1002", {"state": "closed"}, 404),
        ("GET", "/issues/1002", None, 404),
    ],
)
def test_what_github_would_refuse_of_an_issue(double, method, path, body, status):
    ask(double, "POST", "/issues", json={"title": "one"})
    assert ask(double, method, path, json=body).status_code == status


def test_pages_keep_what_was_asked(double):
    for index in range(3):
        ask(double, "POST", "/issues", json={"title": str(index)})
        ask(double, "PATCH", f"/issues/{1001 + index}", json={"state": "closed"})
    first = ask(double, "GET", "/issues?state=closed&direction=asc&per_page=2")
    second = requests.get(
        first.links["next"]["url"], headers={"Authorization": "token token"}, timeout=5
    )
    assert [issue["title"] for issue in second.json()] == ["2"]


def test_pages_are_linked_as_on_github(double):
    for index in range(5):
        ask(double, "POST", "/issues/7/comments", json={"body": str(index)})
    seen, url = [], f"{double.url}/repos/owner/name/issues/7/comments?per_page=2"
    pages = 0
    while url:
        answer = requests.get(url, headers={"Authorization": "token token"}, timeout=5)
        seen += [comment["body"] for comment in answer.json()]
        url = answer.links.get("next", {}).get("url")
        pages += 1
    assert seen == ["0", "1", "2", "3", "4"]
    assert pages == 3


def test_a_token_that_only_reads_is_refused_in_githubs_words(tmp_path):
    api = Api(tmp_path, "owner/name", "token", EVENT, read_only=True)
    with serve(api):
        for method, path in [
            ("POST", "/issues/7/comments"),
            ("PATCH", "/issues/comments/1"),
            ("POST", "/dispatches"),
            ("POST", "/issues"),
            ("PATCH", "/issues/1001"),
        ]:
            answer = ask(api, method, path, json={"body": "x", "event_type": "x"})
            assert answer.status_code == 403
            assert answer.json()["message"] == "Resource not accessible by integration"
        assert ask(api, "GET", "/issues/7/comments").json() == []
    assert api.comments() == []


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/issues/7/comments", {"token": "wrong"}, 401),
        ("GET", "/pulls/8", {}, 404),
        ("GET", "/nothing", {}, 404),
        ("PATCH", "/issues/comments/99", {"json": {"body": "x"}}, 404),
        ("POST", "/issues/7/comments", {"json": {"body": "x" * (COMMENT_LIMIT + 1)}}, 422),
        ("POST", "/issues/7/comments", {"json": {}}, 422),
        ("POST", "/issues/7/comments", {"data": b"{"}, 400),
        ("POST", "/dispatches", {"json": {}}, 422),
    ],
)
def test_what_github_refuses_is_refused(double, method, path, options, status):
    assert ask(double, method, path, **options).status_code == status


def test_it_knows_the_pull_request_and_keeps_dispatches(double):
    assert ask(double, "GET", "/pulls/7").json()["number"] == 7
    labels = ask(double, "GET", "/issues/7/labels").json()
    assert [label["name"] for label in labels] == ["full-training", "policy-approved"]
    events = ask(double, "GET", "/issues/7/events").json()
    assert events[0]["actor"]["login"] == "octocat"
    # What the event is about is as old as the event; the rest was there before.
    assert events[0]["created_at"] == "2027-01-31T11:00:00Z"
    assert events[1]["created_at"] == "2027-01-31T12:00:00Z"
    assert ask(double, "POST", "/dispatches", json={"event_type": "drift"}).status_code == 204
    assert double.dispatches() == [{"event_type": "drift"}]


def test_our_own_comment_is_updated_in_place(double, monkeypatch):
    monkeypatch.setenv("GITHUB_API_URL", double.url)
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    github.event.cache_clear()
    try:
        for index in range(120):  # Ours is not on the first page.
            ask(double, "POST", "/issues/7/comments", json={"body": f"talk {index}"})
        for body in ("<!-- m -->\nfirst", "<!-- m -->\nsecond"):
            github.upsert_comment(number=7, marker="<!-- m -->", body=body, token="token")  # noqa: S106
    finally:
        github.event.cache_clear()
    ours = [one["body"] for one in double.comments() if "<!-- m -->" in one["body"]]
    assert ours == ["<!-- m -->\nsecond"]
