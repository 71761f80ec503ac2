"""The branch mlops-state: real git, a bare repository on disk."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest

from mlops_actions import state
from mlops_actions.errors import Failure
from mlops_actions.state import BRANCH, Branch, Checkout


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(folder)], check=True)
    return folder


@pytest.fixture
def branch(tmp_path: Path, origin: Path) -> Branch:
    work = tmp_path / "work"
    subprocess.run(["git", "init", "--quiet", str(work)], check=True)
    git(work, "remote", "add", "origin", str(origin))
    return Branch(repository=work)


def add(name: str, text: str = "x"):
    def change(checkout: Checkout) -> str:
        path = checkout.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    return change


def files(origin: Path) -> list[str]:
    return git(origin, "ls-tree", "-r", "--name-only", BRANCH).splitlines()


def test_a_branch_that_does_not_exist_is_made(branch: Branch, origin: Path, tmp_path: Path) -> None:
    assert not branch.checkout(tmp_path / "look").exists
    assert branch.transaction(add("a/b"), "first") == "a/b"
    assert files(origin) == ["a/b", "mlops-state.json"]
    assert json.loads(git(origin, "show", f"{BRANCH}:mlops-state.json")) == {"schema": 1}


def test_a_models_files_arrive_as_they_are(
    branch: Branch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a model's own .gitignore and .gitattributes say, or a hook's environment."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "work" / ".git"))
    content = {
        ".gitignore": b"/model.pkl\n*.bin\n",
        ".gitattributes": b"* text=auto\n*.py ident\n*.bin filter=x working-tree-encoding=UTF-16\n",
        "model.pkl": b"\x80\x04.",
        "data.csv": b"a,b\r\n1,2\r\n",
        "code.py": b"# $Id$\r\n",
        "weights.bin": bytes(range(256)),
    }

    def change(checkout: Checkout) -> None:
        (checkout.folder / "model").mkdir()
        for name, text in content.items():
            (checkout.folder / "model" / name).write_bytes(text)

    branch.transaction(change, "a model")
    checkout = branch.checkout(tmp_path / "look")
    checkout.bring(["model"])
    found = {path.name: path.read_bytes() for path in (checkout.folder / "model").iterdir()}
    assert found == content


def test_only_the_branch_itself_is_looked_at(branch: Branch, origin: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    git(work, "commit", "--allow-empty", "--quiet", "-m", "x")
    git(work, "push", "--quiet", "origin", f"HEAD:refs/heads/ada/{BRANCH}")
    assert not branch.checkout(tmp_path / "before").exists
    branch.transaction(add("a"), "first")
    git(work, "push", "--quiet", "origin", f"HEAD:refs/tags/{BRANCH}")
    assert branch.checkout(tmp_path / "after").exists
    branch.transaction(add("b"), "second")
    assert git(origin, "ls-tree", "--name-only", f"refs/heads/{BRANCH}").split() == [
        "a", "b", "mlops-state.json",
    ]  # fmt: skip


def test_what_others_wrote_stays(branch: Branch, origin: Path) -> None:
    branch.transaction(add("old"), "first")
    branch.transaction(add("new"), "second")
    assert files(origin) == ["mlops-state.json", "new", "old"]
    assert git(origin, "rev-list", "--count", BRANCH) == "2"


def test_nothing_to_change_makes_no_commit(branch: Branch, origin: Path) -> None:
    branch.transaction(add("a"), "first")
    branch.transaction(add("a"), "again")
    assert git(origin, "rev-list", "--count", BRANCH) == "1"


def test_files_arrive_when_they_are_asked_for(branch: Branch, tmp_path: Path) -> None:
    branch.transaction(add("large/model"), "first")
    checkout = branch.checkout(tmp_path / "look")
    assert not (checkout.folder / "large").exists()
    checkout.bring(["large"])
    assert (checkout.folder / "large" / "model").read_text() == "x"


def test_two_at_once_both_survive(branch: Branch, origin: Path) -> None:
    branch.transaction(add("start"), "first")
    both_read = threading.Barrier(2, timeout=30)
    tries: list[str] = []

    def push(name: str) -> None:
        def change(checkout: Checkout) -> None:
            tries.append(name)
            if tries.count(name) == 1:
                both_read.wait()  # Each has read the same state before either pushes.
            add(name)(checkout)

        branch.transaction(change, name)

    threads = [threading.Thread(target=push, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files(origin) == ["mlops-state.json", "one", "start", "two"]
    assert len(tries) == 3  # One of them was refused and made its change again.


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (None, "not ours, or is damaged"),
        ("{", "not ours, or is damaged"),
        ("[]", "not ours, or is damaged"),
        ("{}", "no schema number"),
        ('{"schema": 99}', "newer version"),
    ],
)
def test_a_branch_that_is_not_ours_is_left_alone(
    branch: Branch, origin: Path, tmp_path: Path, marker: str | None, message: str
) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", f"--initial-branch={BRANCH}", other], check=True)
    (other / "theirs").write_text("x")
    if marker is not None:
        (other / "mlops-state.json").write_text(marker)
    git(other, "add", ".")
    git(other, "commit", "--quiet", "-m", "theirs")
    git(other, "push", "--quiet", str(origin), BRANCH)
    before = git(origin, "rev-parse", BRANCH)
    with pytest.raises(Failure, match=message):
        branch.transaction(add("ours"), "x")
    assert git(origin, "rev-parse", BRANCH) == before


def refuse(origin: Path, message: str) -> None:
    hook = origin / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
    hook.chmod(0o755)


@pytest.mark.parametrize("message", ["a rule protects this branch", "the branch is blocked"])
def test_a_refused_push_says_why_and_is_not_tried_again(
    branch: Branch, origin: Path, message: str
) -> None:
    refuse(origin, message)
    tries = []
    with pytest.raises(Failure, match=message):
        branch.transaction(lambda checkout: tries.append(add("a")(checkout)), "x")
    assert len(tries) == 1


def test_a_lock_of_somebody_elses_is_waited_for(
    branch: Branch, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch.transaction(add("first"), "first")
    lock = origin / "refs" / "heads" / f"{BRANCH}.lock"
    lock.touch()
    monkeypatch.setattr(state.time, "sleep", lambda _: lock.unlink(missing_ok=True))
    branch.transaction(add("second"), "second")
    assert "second" in files(origin)


def test_no_remote_is_said(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with pytest.raises(Failure, match="no remote named origin"):
        Branch(repository=tmp_path).checkout(tmp_path / "look")


def test_an_origin_out_of_reach_is_no_empty_branch(branch: Branch, tmp_path: Path) -> None:
    git(branch.repository, "remote", "set-url", "origin", str(tmp_path / "gone.git"))
    with pytest.raises(Failure, match="out of reach"):
        branch.checkout(tmp_path / "look")


def test_the_token_goes_through_the_environment_and_only_to_https() -> None:
    given = state.git_environment("https://github.com/o/r", "secret-token")
    keys = {k: v for k, v in given.items() if k.startswith("GIT_CONFIG")}
    assert any("AUTHORIZATION: basic" in value for value in keys.values())
    assert "secret-token" not in "".join(keys.values())  # Encoded, as HTTP wants it.
    plain = state.git_environment("http://github.com/o/r", "secret-token")
    assert not any("AUTHORIZATION" in value for value in plain.values())
