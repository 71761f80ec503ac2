import http.server
import json
import os
import re
import sys
import threading
from urllib.parse import urlparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_actions import github
from mlops_actions.errors import ConfigurationError


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in list(os.environ):
        if name.startswith("GITHUB_"):
            monkeypatch.delenv(name)
    github.event.cache_clear()
    yield
    github.event.cache_clear()


@pytest.fixture
def on_github(monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")


def event(monkeypatch, tmp_path, payload, **variables):
    path = tmp_path / "event.json"
    path.write_text(json.dumps(payload))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(path))
    for name, value in ({"repository": "octo/model"} | variables).items():
        monkeypatch.setenv(f"GITHUB_{name.upper()}", value)
    return github.event()


# Messages


@pytest.mark.usefixtures("on_github")
@given(st.text())
def test_no_message_ends_its_command(text):
    escaped = github._escape(text)
    assert "\n" not in escaped
    assert "\r" not in escaped


@pytest.mark.usefixtures("on_github")
def test_properties_are_escaped(capsys):
    github.error("a\r\nb", file="x:1,y", line=None, col=2)
    assert capsys.readouterr().err == "::error file=x%3A1%2Cy,col=2::a%0D%0Ab\n"


def commands(text: str) -> list[str]:
    """Give the commands that the runner finds, by the rules of its ActionCommand.cs."""
    found = []
    for line in re.split(r"\r\n|\r|\n", text):
        current = re.match(r"\s*::(\S+?)( .*)?::", line)
        older = re.search(r"##\[(\S+?)( [^\]]*)?\]", line)
        found += [match[1] for match in (current, older) if match]
    return found


@pytest.mark.usefixtures("on_github")
@pytest.mark.parametrize(
    "line",
    [
        "::set-output name=a::b", "  ::error::x", "\u00a0::error::x", "##[error]x",
        "a value ##[add-matcher]y", "10 %\r::error::x", "\r\n::error::x",
    ],
)  # fmt: skip
def test_progress_is_never_a_command(line, capsys):
    assert commands(f"fine\n{line}")
    github.info(f"fine\n{line}")
    github.show(f"fine\n{line}")
    out, err = capsys.readouterr()
    assert out == err
    assert commands(out) == []


@pytest.mark.usefixtures("on_github")
def test_progress_without_commands_is_left_as_it_is(capsys):
    github.info("mlflow.sklearn::a :: b # [c]\n  indented\n")
    assert capsys.readouterr().err == "mlflow.sklearn::a :: b # [c]\n  indented\n\n"


@pytest.mark.usefixtures("on_github")
def test_a_group_ends_also_after_an_error(capsys):
    with pytest.raises(ZeroDivisionError), github.group("Work\n::error::x"):
        raise ZeroDivisionError
    assert capsys.readouterr().err == "::group::Work%0A::error::x\n::endgroup::\n"


@pytest.mark.usefixtures("on_github")
def test_commands_are_stopped_by_a_word_nobody_can_guess(capsys):
    words = []
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), github.untrusted_output():  # noqa: PT012
            sys.stderr.write("no end of line")
            raise ZeroDivisionError
        start, between, end = capsys.readouterr().err.splitlines()
        word = start.removeprefix("::stop-commands::")
        assert between == "no end of line"
        assert end == f"::{word}::"
        assert len(word) >= 32
        words.append(word)
    assert words[0] != words[1]


@pytest.mark.usefixtures("on_github")
def test_each_line_of_a_secret_is_masked(capsys):
    assert github.mask("line one\n\n  \nline two %")
    assert capsys.readouterr().err == "::add-mask::line one\n::add-mask::line two %25\n"


@pytest.mark.usefixtures("on_github")
@pytest.mark.parametrize("short", ["4", "true", "12345", "  4     "])
def test_a_short_value_is_not_masked_for_it_would_take_the_digests_along(short, capsys):
    assert not github.mask(short)
    assert not github.mask(f"{short}\nlonger")
    assert capsys.readouterr().err == "::add-mask::longer\n"


def test_off_github_nothing_is_a_command(capsys):
    with github.group("Work"), github.untrusted_output():
        github.info("::error::x")
        github.mask("secret")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "Work\n::error::x\n"


# Outputs


@pytest.mark.parametrize("value", ["", "plain", "a\nb\n", "end-0\nother=injected", "x<<EOF"])
def test_an_output_cannot_end_itself(value, tmp_path, monkeypatch):
    path = tmp_path / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(path))
    github.set_output("first", value)
    github.set_output("second", "2")
    assert read_outputs(path.read_text(encoding="utf-8")) == {"first": value, "second": "2"}


def read_outputs(text: str) -> dict[str, str]:
    """Read an output file as the runner does."""
    outputs, lines = {}, iter(text.split("\n"))
    for line in lines:
        if line:
            name, _, delimiter = line.partition("<<")
            value = []
            while (following := next(lines)) != delimiter:
                value.append(following)
            outputs[name] = "\n".join(value)
    return outputs


def test_summaries_are_appended(tmp_path, monkeypatch):
    path = tmp_path / "summary"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    github.add_summary("# One\n\n\n")
    github.add_summary("Two")
    assert path.read_text(encoding="utf-8") == "# One\n\nTwo\n\n"


def test_off_github_outputs_go_nowhere():
    github.set_output("name", "value")
    github.add_summary("text")


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_booleans(text, value):
    assert github.boolean("force", text) is value


@pytest.mark.parametrize("text", ["", "True", "yes", "1", " true", "false\n"])
def test_anything_else_is_no_boolean(text):
    with pytest.raises(ConfigurationError, match="force: expected true or false"):
        github.boolean("force", text)


# The event


def test_off_github_the_event_is_empty():
    now = github.event()
    assert now.payload == {}
    assert now.default_branch is None
    assert not now.on_default_branch
    assert now.pull_request is None
    assert now.labels == []
    assert now.restricted is None
    assert now.run_url is None


@pytest.mark.parametrize(
    ("ref", "branch", "expected"),
    [
        ("refs/heads/main", "main", True),
        ("refs/heads/other", "main", False),
        ("refs/tags/main", "main", False),
        ("refs/pull/1/merge", "main", False),
        ("refs/heads/", "", False),
        ("refs/heads/None", None, False),
    ],
)
def test_only_the_default_branch_is_the_default_branch(
    monkeypatch, tmp_path, ref, branch, expected
):
    payload = {"repository": {"default_branch": branch}}
    assert event(monkeypatch, tmp_path, payload, ref=ref).on_default_branch is expected


def test_a_schedule_runs_on_the_default_branch_and_need_not_say_so(monkeypatch, tmp_path):
    now = event(monkeypatch, tmp_path, {"schedule": "17 4 * * 1"}, event_name="schedule")
    assert now.on_default_branch


def pull_request(head, **more):
    return {"pull_request": {"number": 7, "head": {"repo": head}, **more}}


@pytest.mark.parametrize(
    ("head", "actor", "reason"),
    [
        ({"full_name": "octo/model"}, "octocat", None),
        ({"full_name": "stranger/model"}, "octocat", "fork"),
        (None, "octocat", "fork"),  # The fork was deleted.
        ({"full_name": "octo/model"}, "dependabot[bot]", "Dependabot"),
    ],
)
def test_who_has_no_rights(monkeypatch, tmp_path, head, actor, reason):
    restricted = event(monkeypatch, tmp_path, pull_request(head), actor=actor).restricted
    assert restricted is None if reason is None else reason in restricted


def test_what_the_event_tells(monkeypatch, tmp_path):
    payload = pull_request({"full_name": "octo/model"}, labels=[{"name": "full-training"}])
    now = event(monkeypatch, tmp_path, payload, run_id="42", server_url="https://github.test")
    assert now.labels == ["full-training"]
    assert now.pull_request["number"] == 7
    assert now.run_url == "https://github.test/octo/model/actions/runs/42"


# Comments: a server on this machine answers as GitHub's API does.


class Comments(http.server.BaseHTTPRequestHandler):
    def _answer(self, status, document, **headers):
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _read(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self):
        page = 2 if "page=2" in urlparse(self.path).query.split("&") else 1
        following = f"{self.server.address}/repos/octo/model/issues/7/comments?page=2"
        links = {"Link": f'<{following}>; rel="next"'} if page == 1 else {}
        half = self.server.comments[: self.server.split] if page == 1 else None
        shown = self.server.comments[self.server.split :] if half is None else half
        self._answer(self.server.status or 200, shown, **links)

    def do_POST(self):
        self.server.written.append(("POST", self.path, self._read()["body"]))
        self._answer(201, {"html_url": "https://github.test/new"})

    def do_PATCH(self):
        self.server.written.append(("PATCH", self.path, self._read()["body"]))
        self._answer(200, {"html_url": "https://github.test/old"})

    def log_message(self, *arguments):
        pass


@pytest.fixture
def api(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Comments)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.comments, server.split, server.written, server.status = [], 1, [], None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("GITHUB_API_URL", server.address)
    monkeypatch.setenv("GITHUB_REPOSITORY", "octo/model")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


MARKER = "<!-- mlops late-flights -->"


def upsert(body="Report"):
    text = f"{MARKER}\n{body}"
    return github.upsert_comment(number=7, marker=MARKER, body=text, token="t")  # noqa: S106 - of the double.


def comment(number, body, kind="Bot"):
    return {"id": number, "body": body, "user": {"type": kind}}


def test_the_first_report_is_a_new_comment(api):
    assert upsert() == "https://github.test/new"
    assert api.written == [("POST", "/repos/octo/model/issues/7/comments", f"{MARKER}\nReport")]


def test_a_later_report_replaces_ours_on_whatever_page_it_is(api):
    api.comments = [comment(1, "Nice!", "User"), comment(2, f"{MARKER}\nOld")]
    assert upsert() == "https://github.test/old"
    assert api.written == [("PATCH", "/repos/octo/model/issues/comments/2", f"{MARKER}\nReport")]


@pytest.mark.parametrize(
    "other",
    [
        comment(1, f"{MARKER}\nForged", "User"),
        comment(1, f"> {MARKER}"),
        comment(1, "<!-- mlops other -->\nAnother model's"),
        {"id": 1, "body": None, "user": None},
    ],
)
def test_other_peoples_comments_are_left_alone(api, other):
    api.comments = [other]
    upsert()
    assert [method for method, _, _ in api.written] == ["POST"]


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_missing_right_is_a_warning(api, status, capsys):
    api.status = status
    assert upsert() is None
    assert f"GitHub answered {status}" in capsys.readouterr().err
    assert api.written == []


def test_an_api_out_of_reach_is_a_warning(monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")
    assert upsert() is None
    assert capsys.readouterr().err.startswith("warning: The report was not written")


def test_a_report_that_github_would_refuse_is_our_bug():
    with pytest.raises(ValueError, match="longer"):
        upsert("x" * github.COMMENT_LIMIT)
