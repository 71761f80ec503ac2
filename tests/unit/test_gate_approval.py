"""A looser policy waits for somebody else, who has seen the newest commit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlops_actions import config, github
from mlops_actions.gate import approval
from mlops_actions.local.api import Api, serve

CONFIG = """\
name: tiny
task: classification
target: y
labels: [0, 1]
id: id
score: package.module:predict
data: {training: training.csv, evaluation: evaluation.csv, schema: schema.yaml}
gate:
  metrics: {roc_auc: {threshold: 0.7}}
  behaviour: {tests: tests/behaviour.py}
"""
FILES = {
    "mlops.yaml": CONFIG,
    "schema.yaml": "columns: {}\n",
    "src/package/module.py": "def predict(model, frame): ...\n",
    "tests/behaviour.py": "def test_one(predict): ...\n",
    "other.py": "\n",
}
LOOSE = CONFIG.replace("0.7", "0.6")


class Request:
    """A pull request of ada's, in a repository with a base branch."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "work"
        self._event = folder / "event.json"
        self._patch = monkeypatch
        git("init", "--quiet", "--bare", str(folder / "origin.git"))
        git("init", "--quiet", str(self.folder))
        for name, text in FILES.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git("remote", "add", "origin", str(folder / "origin.git"), cwd=self.folder)
        self.base = self.commit()
        git("push", "--quiet", "origin", "HEAD:refs/heads/main", cwd=self.folder)
        self.sender = "grace"
        self.sender_type = "User"
        self.permission = "write"
        self.label: str | None = None
        self.action = "synchronize"
        self.labels: list[str] = []
        self.token = "token"  # noqa: S105 - of the double.
        self.registered: dict[str, Any] | None = {"evaluation": {"release": {"rows": 1000}}}
        self.rows = {"release": 1000}

    def commit(self) -> str:
        git("add", "--all", cwd=self.folder)
        git("-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "x", cwd=self.folder)
        return git("rev-parse", "HEAD", cwd=self.folder).strip()

    def change(self, file: str, text: str) -> None:
        (self.folder / file).write_text(text)
        self.commit()

    def payload(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "action": self.action,
            "sender": {"login": self.sender, "type": self.sender_type},
            "pull_request": {
                "number": 7,
                "user": {"login": "ada"},
                "base": {"sha": self.base},
                "head": {"sha": "h" * 40},
                "labels": [{"name": name} for name in self.labels],
                "updated_at": "2027-01-31T12:00:00Z",
            },
        }
        if self.label:
            found["label"] = {"name": self.label}
        return found

    def compare(self) -> approval.Compared:
        payload = self.payload()
        self._event.write_text(json.dumps(payload))
        self._patch.setenv("GITHUB_EVENT_PATH", str(self._event))
        self._patch.setenv("GITHUB_REPOSITORY", "owner/name")
        self._patch.setenv("GITHUB_TOKEN", self.token)
        github.event.cache_clear()
        double = Api(self.folder / "api", "owner/name", "token", payload, read_only=True)
        self._patch.setattr(
            Api, "permission", lambda *_: {"permission": self.permission}, raising=True
        )
        with serve(double) as url:
            self._patch.setenv("GITHUB_API_URL", url)
            return approval.compare(
                config.load(self.folder / "mlops.yaml"), registered=self.registered, rows=self.rows
            )

    def status(self) -> str:
        (found,) = self.compare().checks
        return found["status"]


def git(*words: str, cwd: Path | None = None) -> str:
    answer = subprocess.run(["git", *words], cwd=cwd, check=True, capture_output=True, text=True)
    return answer.stdout


@pytest.fixture
def request_(tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    yield Request(tmp_path, monkeypatch)
    github.event.cache_clear()


def test_what_is_no_pull_request_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_EVENT_PATH", raising=False)
    github.event.cache_clear()
    (tmp_path / "mlops.yaml").write_text(CONFIG)
    found = approval.compare(config.load(tmp_path / "mlops.yaml"), registered=None, rows={})
    assert found.checks == []


def test_a_change_of_other_files_needs_nobody(request_):
    request_.change("other.py", "print()\n")
    found = request_.compare()
    assert [item["status"] for item in found.checks] == ["pass"]
    assert found.section["changes"] == []


def test_a_stricter_policy_shows_and_needs_nobody(request_):
    request_.change("mlops.yaml", CONFIG.replace("0.7", "0.8"))
    found = request_.compare()
    assert [item["status"] for item in found.checks] == ["pass"]
    assert [item["effect"] for item in found.section["changes"]] == ["stricter"]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("mlops.yaml", LOOSE, "gate.metrics.roc_auc.threshold: 0.7 -> 0.6 (looser)"),
        ("schema.yaml", "columns: {x: {}}\n", "data.schema.schema.yaml"),
        ("src/package/module.py", "def predict(): ...\n", "score.src/package/module.py"),
        ("tests/behaviour.py", "\n", "gate.behaviour.tests.tests/behaviour.py"),
    ],
)
def test_what_is_not_stricter_fails_until_someone_approves(request_, file, text, said):
    request_.change(file, text)
    (check,) = request_.compare().checks
    assert check["status"] == "fail"
    assert said in check["message"]
    assert "policy-approved" in check["message"]
    request_.action, request_.label, request_.labels = (
        "labeled", "policy-approved", ["policy-approved"],
    )  # fmt: skip
    found = request_.compare()
    assert [item["status"] for item in found.checks] == ["pass"]
    assert found.section["approval"]["who"] == "grace"
    assert found.section["approval"]["head"] == "h" * 40


@pytest.mark.parametrize(
    "file", ["package/module.py", "src/package/module/__init__.py", "tests/conftest.py"]
)
def test_a_new_file_that_hides_a_known_one_needs_approval(request_, file):
    (request_.folder / file).parent.mkdir(parents=True, exist_ok=True)
    request_.change(file, "def predict(): ...\n")
    (check,) = request_.compare().checks
    assert check["status"] == "fail"
    assert f"{file}: added" in check["message"]


def test_a_link_is_not_followed(request_):
    module = request_.folder / "src/package/module.py"
    module.unlink()
    module.symlink_to("../../other.py")
    request_.commit()
    (check,) = request_.compare().checks
    assert check["status"] == "inconclusive"
    assert "module.py is a symbolic link" in check["message"]


def _by_the_author(request: Request) -> None:
    request.sender = "Ada"  # Logins are the same in either case.


def _by_a_bot(request: Request) -> None:
    request.sender_type = "Bot"


def _by_a_reader(request: Request) -> None:
    request.permission = "read"


def _before_the_commit(request: Request) -> None:
    request.action, request.label = "synchronize", None


def _before_another_label(request: Request) -> None:
    request.label = "full-training"
    request.labels.append("full-training")


def _another_label(request: Request) -> None:
    request.label, request.labels = "good", ["good"]


@pytest.mark.parametrize(
    "spoil",
    [
        _by_the_author, _by_a_bot, _by_a_reader, _before_the_commit, _before_another_label,
        _another_label,
    ],
)  # fmt: skip
def test_not_every_label_is_an_approval(request_, spoil):
    request_.change("mlops.yaml", LOOSE)
    request_.action, request_.label, request_.labels = (
        "labeled", "policy-approved", ["policy-approved"],
    )  # fmt: skip
    assert request_.status() == "pass"
    spoil(request_)
    assert request_.status() == "fail"


def test_the_label_is_the_one_that_is_in_force(request_):
    request_.change("mlops.yaml", LOOSE.replace("gate:\n", "gate:\n  approval_label: bug\n"))
    request_.action, request_.label, request_.labels = "labeled", "bug", ["bug"]
    assert request_.status() == "fail"


@pytest.mark.parametrize("token", ["", "wrong"])
def test_what_cannot_be_seen_is_no_approval(request_, token):
    request_.change("mlops.yaml", LOOSE)
    request_.labels, request_.token = ["policy-approved"], token
    assert request_.status() == "inconclusive"


def test_a_base_that_cannot_be_read_is_no_approval(request_):
    request_.base = "0" * 40
    assert request_.status() == "inconclusive"


def test_a_smaller_evaluation_set_asks_for_approval(request_):
    request_.rows = {"release": 899}
    assert request_.status() == "fail"
    request_.rows = {"release": 950}  # Data that comes in has not the same size every day.
    assert request_.status() == "pass"


def test_the_first_policy_has_none_before_it_but_a_moved_one_has(request_):
    git("rm", "--quiet", "mlops.yaml", cwd=request_.folder)
    request_.base = request_.commit()
    git("push", "--quiet", "origin", "HEAD:refs/heads/bare", cwd=request_.folder)
    (request_.folder / "mlops.yaml").write_text(CONFIG)
    request_.commit()
    assert request_.status() == "fail"
    request_.registered = None
    assert request_.status() == "pass"


def test_an_answer_that_is_not_as_documented_is_an_error(request_, monkeypatch):
    request_.change("mlops.yaml", LOOSE)
    request_.labels = ["policy-approved"]
    monkeypatch.setattr(Api, "label_events", lambda *_: [{"event": "labeled"}])
    assert request_.status() == "inconclusive"
    monkeypatch.setattr(Api, "label_events", lambda *_: [])
    assert request_.status() == "fail"
