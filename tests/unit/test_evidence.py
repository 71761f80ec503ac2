import datetime
import hashlib
import json
import math
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_actions import __version__, evidence, github
from mlops_actions.errors import Failure


@pytest.fixture(autouse=True)
def off_github(monkeypatch):
    for name in ("EVENT_PATH", "REPOSITORY", "SHA", "REF", "RUN_ID", "SERVER_URL"):
        monkeypatch.delenv(f"GITHUB_{name}", raising=False)
    github.event.cache_clear()
    yield
    github.event.cache_clear()


def make(checks=(), **more):
    return evidence.statement("gate", "blessed", checks, subjects=[], **more)


def test_a_statement_is_in_totos(monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "octo/model")
    monkeypatch.setenv("GITHUB_SHA", "a" * 40)
    monkeypatch.setenv("GITHUB_REF", "refs/heads/main")
    subject = evidence.subject("model", "b" * 64)
    checks = [evidence.check("roc_auc", "pass", 0.8, 0.7)]
    document = evidence.statement(
        "gate", "blessed", checks, subjects=[subject], model="late-flights"
    )
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["subject"] == [{"name": "model", "digest": {"sha256": "b" * 64}}]
    assert document["predicateType"].endswith("/evidence/gate/v1")
    predicate = document["predicate"]
    assert predicate["stage"] == "gate"
    assert predicate["model"] == "late-flights"
    assert predicate["tool"]["version"] == __version__
    assert predicate["source"]["commit"] == "a" * 40
    assert datetime.datetime.fromisoformat(predicate["created"]).tzinfo is not None


def test_each_names_the_digests_of_those_before_it(tmp_path):
    before = tmp_path / "validate.json"
    before.write_bytes(b"{}")
    previous = make(previous=[before])["predicate"]["previous"]
    digest = hashlib.sha256(b"{}").hexdigest()
    assert previous == [{"name": "validate.json", "digest": {"sha256": digest}}]


def test_what_is_written_can_be_read(tmp_path):
    path = tmp_path / "new" / "folder" / "gate.json"
    digest = evidence.write_json(path, make(answer=42))
    assert digest == evidence.sha256_file(path)
    assert evidence.read(path, "gate")["answer"] == 42
    assert [file.name for file in path.parent.iterdir()] == ["gate.json"]


def test_a_place_that_cannot_be_written_is_named_and_nothing_stays_beside_it(tmp_path):
    place = tmp_path / "out.json"
    place.mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        evidence.write_json(place, {})
    assert caught.value.filename == str(place)
    assert list(tmp_path.iterdir()) == [place]


def test_a_write_that_fails_leaves_the_old_document(tmp_path, monkeypatch):
    path = tmp_path / "gate.json"
    evidence.write_json(path, {"old": True})

    def no_space(*_):
        raise OSError

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OSError):  # noqa: PT011
        evidence.write_json(path, {"new": True})
    assert json.loads(path.read_text()) == {"old": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "missing"),
        ("", "Not valid JSON"),
        ("{", "Not valid JSON"),
        ("[]", "Expected a JSON object"),
        ("{}", "not evidence of the stage gate"),
        (json.dumps(evidence.statement("train", "passed", [], subjects=[])), "not evidence"),
        (json.dumps(make() | {"_type": "other"}), "not evidence"),
        (json.dumps(make() | {"predicate": []}), "not evidence"),
        (json.dumps(make() | {"predicate": {"verdict": "blessed"}}), "checks: not as"),
        (json.dumps(make() | {"predicate": {"verdict": None, "checks": []}}), "verdict: not as"),
        (json.dumps(make(checks=["x"])), "checks: not as"),
        (json.dumps(make(checks=[{"name": "x", "status": "good"}])), "checks: not as"),
        (json.dumps(make(checks=[{"name": "x", "status": ["pass"]}])), "checks: not as"),
        (json.dumps(make(checks=[{"status": "pass"}])), "checks: not as"),
        (json.dumps(make(checks=[{"name": "x", "status": "fail", "message": 1}])), "checks"),
        (json.dumps(make() | {"subject": [{"name": "x"}]}), "subject: not as"),
        (json.dumps(make() | {"subject": [{"name": "x", "digest": {}}]}), "subject: not as"),
        (json.dumps(make(previous=[])).replace('"previous": []', '"previous": {}'), "previous"),
        ("[" * 100_000, "Not valid JSON"),
    ],
)
def test_what_is_not_evidence_is_refused(tmp_path, text, message):
    path = tmp_path / "gate.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Failure, match=message) as caught:
        evidence.read(path, "gate")
    assert caught.value.file == str(path)
    assert caught.value.code == 1


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "gate.json").write_bytes(b"\xff{}")
    with pytest.raises(Failure, match="Not valid JSON"):
        evidence.read(tmp_path / "gate.json", "gate")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (0.5, 0.5),
        (None, None),
        ({"a": [math.nan, (1, math.inf)]}, {"a": ["NaN", [1, "Infinity"]]}),
        (datetime.date(2026, 11, 1), "2026-11-01"),
    ],
)
def test_no_number_is_hidden(value, expected):
    assert evidence.json_safe(value) == expected


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_every_value_becomes_strict_json(value):
    json.dumps(evidence.json_safe(value), allow_nan=False)


def test_a_check_says_only_what_is_known():
    assert evidence.check("rows", "skipped") == {
        "name": "rows",
        "status": "skipped",
        "observed": None,
        "required": None,
    }
    assert evidence.check("rows", "fail", 1, 2, "Too few.", column="a") == {
        "name": "rows",
        "status": "fail",
        "observed": 1,
        "required": 2,
        "message": "Too few.",
        "column": "a",
    }


def test_the_digest_of_a_file_is_sha256(tmp_path):
    content = b"x" * ((1 << 20) + 1)  # More than one block.
    (tmp_path / "file").write_bytes(content)
    assert evidence.sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def tree(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return evidence.sha256_tree(folder)


def test_the_digest_of_a_folder_is_that_of_names_and_contents(tmp_path):
    files = {"b": "2", "a/c": "1"}
    same = tree(tmp_path / "one", files)
    assert same == tree(tmp_path / "two", dict(reversed(files.items())))
    others = [{"b": "2", "a/d": "1"}, {"b": "2", "a/c": "3"}, {"b": "1", "a/c": "2"}, {"b": "2"}]
    digests = {tree(tmp_path / str(number), other) for number, other in enumerate(others)}
    assert len(digests | {same}) == 5


@pytest.mark.parametrize("kind", ["file", "folder", "dangling"])
def test_a_link_is_no_part_of_evidence(tmp_path, kind):
    targets = {"file": "secret", "folder": "elsewhere", "dangling": "gone"}
    (tmp_path / "secret").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "link").symlink_to(tmp_path / targets[kind])
    with pytest.raises(Failure, match="symbolic link") as caught:
        evidence.sha256_tree(tmp_path / "model")
    assert caught.value.file.endswith("link")


def test_the_tools_commit_is_the_checkouts():
    commit = make()["predicate"]["tool"]["commit"]
    answer = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    assert commit in {None, answer.stdout.strip()} or len(commit) == 40
