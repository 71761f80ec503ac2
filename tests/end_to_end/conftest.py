"""The generated flights repository, made once and copied for each test that changes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import copier
import pytest

from mlops_actions.local import LocalRun, run_event

ROOT = Path(__file__).resolve().parents[2]
# A shorter training than the template's: the same code on the same data, a test's patience.
WINDOWS = {
    "training": '["2013-02-01", "2013-05-31"]',
    "max_iter": "50",
}


class Consumer:
    """A repository that calls our workflows, and what happens to it locally."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def git(self, *words: str) -> str:
        """Run git in the repository."""
        command = ["git", "-C", str(self.folder), "-c", "user.name=Ada", "-c", "user.email=a@b.c"]
        answer = subprocess.run([*command, *words], check=True, capture_output=True, text=True)
        return answer.stdout.strip()

    def replace(self, file: str, pattern: str, replacement: str) -> None:
        """Edit a file; a pattern that is not there is a mistake of the test's."""
        path = self.folder / file
        text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
        assert count, f"{pattern!r} is not in {file}"
        path.write_text(text)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def branch(self, name: str) -> None:
        """Start a branch."""
        self.git("checkout", "--quiet", "-b", name)

    def happens(self, event: str, **options: object) -> LocalRun:
        """Let an event happen, as `mlops-actions local` does."""
        return run_event(self.folder, event, **options)  # type: ignore[arg-type]

    def copy(self, folder: Path) -> Consumer:
        """Copy the repository with all that happened to it."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Consumer(folder)


def generate(folder: Path, **answers: str) -> Consumer:
    """Make a repository from the template as it is in this checkout."""
    copier.run_copy(str(ROOT), folder, data=answers, defaults=True, vcs_ref="HEAD", quiet=True)
    consumer = Consumer(folder)
    consumer.git("init", "--quiet", "--initial-branch", "main")
    if answers.get("example", "flights") == "flights":
        for key, value in WINDOWS.items():
            consumer.replace("params.yaml", rf"^(\s+{key}:).*", rf"\1 {value}")
        # Several verdicts on one release set each ask for more; airports are large enough for that.
        consumer.replace("mlops.yaml", r"^    - columns: \[carrier\]\n", "")
        consumer.replace("mlops.yaml", r"threshold: 0.60 # A coin", "threshold: 0.55 # A coin")
    consumer.commit("A model")
    return consumer


@pytest.fixture(scope="session")
def _generated(tmp_path_factory: pytest.TempPathFactory) -> Consumer:
    return generate(tmp_path_factory.mktemp("generated") / "flights")


@pytest.fixture(scope="session")
def _registered(_generated: Consumer, tmp_path_factory: pytest.TempPathFactory) -> Consumer:
    consumer = _generated.copy(tmp_path_factory.mktemp("registered") / "flights")
    run = consumer.happens("push")
    assert run.outputs["train"]["verdict"] == "blessed", run.log[-5000:]
    assert run.outputs["train"]["version"] == "1"
    return consumer


@pytest.fixture
def generated(_generated: Consumer, tmp_path: Path) -> Consumer:
    """The repository as generated: nothing is registered."""
    return _generated.copy(tmp_path / "flights")


@pytest.fixture
def registered(_registered: Consumer, tmp_path: Path) -> Consumer:
    """The repository after a first push: version 1 is the challenger."""
    return _registered.copy(tmp_path / "flights")
