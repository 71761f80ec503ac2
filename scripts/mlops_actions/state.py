"""Everything that knows the branch ``mlops-state`` of the user's repository.

MLflow offers no compare-and-swap; a refused push is ours: a change is made on the newest state,
pushed, and made again on the new state when somebody else was faster.
"""

from __future__ import annotations

import base64
import dataclasses
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mlops_actions import github
from mlops_actions.errors import Failure
from mlops_actions.evidence import read_json, write_json

BRANCH = "mlops-state"
_REF = f"refs/heads/{BRANCH}"  # In full: a/mlops-state ends like it, and a tag comes before it.
SCHEMA = 1
_MARKER = "mlops-state.json"
_ATTEMPTS = 12
# git's words when somebody else was faster. A rule's refusal is in words of its own: no use asking
# again.
_RACED = (
    "non-fast-forward", "fetch first", "cannot lock ref", "reference already exists", "old value",
)  # fmt: skip
_GIT_TIMEOUT = 300  # Seconds for one git command; a fetch is the longest.

T = TypeVar("T")


def git_environment(url: str, token: str | None) -> dict[str, str]:
    """The environment in which git reaches ``url``, with ``token`` where that is needed."""
    environment = dict(os.environ)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # Of a hook that calls us.
        environment.pop(name, None)
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C"}
    settings = [
        ("gc.auto", "0"),
        ("commit.gpgsign", "false"),
        ("core.hooksPath", "/dev/null"),
        ("core.autocrlf", "false"),
    ]
    if token and url.startswith("https://"):
        # Through the environment: an argument could be read by every process of the machine.
        pair = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        settings.append((f"http.{url}.extraheader", f"AUTHORIZATION: basic {pair}"))
    environment["GIT_CONFIG_COUNT"] = str(len(settings))
    for index, (key, value) in enumerate(settings):
        environment[f"GIT_CONFIG_KEY_{index}"] = key
        environment[f"GIT_CONFIG_VALUE_{index}"] = value
    return environment


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkout:
    """A partial checkout of the branch: files arrive when they are asked for."""

    folder: Path
    environment: dict[str, str]
    exists: bool

    def git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run git in the checkout; a :class:`Failure` says what git said."""
        return _git(self.folder, self.environment, *arguments, check=check)

    def bring(self, paths: Sequence[str]) -> None:
        """Write files or folders of the branch into the checkout, if it has them."""
        if self.exists and paths:
            self.git("sparse-checkout", "add", *(f"/{path}" for path in paths))


def _git(
    folder: Path, environment: dict[str, str], *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"git {arguments[0]} did not answer within {_GIT_TIMEOUT} s.") from None
    if check and answer.returncode:
        raise Failure(f"git {arguments[0]} failed: {answer.stderr.strip()[-2000:]}")
    return answer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Branch:
    """The branch in the repository that ``repository``'s ``origin`` names."""

    repository: Path
    token: str | None = None

    def _url(self) -> str:
        answer = _git(self.repository, dict(os.environ), "remote", "get-url", "origin", check=False)
        if answer.returncode:
            raise Failure(
                f"{self.repository} has no remote named origin: there is no place for the "
                f"branch {BRANCH}. Check the repository out first (actions/checkout)."
            )
        url = answer.stdout.strip()
        return f"file://{url}" if url.startswith("/") else url

    def checkout(self, folder: Path) -> Checkout:
        """Check the branch out into an empty folder, without its large files.

        Raises :class:`Failure` when the branch cannot be reached, is not ours, or was written by
        a newer version of this project.
        """
        url = self._url()
        environment = git_environment(url, self.token)
        folder.mkdir(parents=True, exist_ok=True)
        _git(folder, environment, "init", "--quiet", f"--initial-branch={BRANCH}")
        # A model may bring attributes of its own: no file of it is to be converted or filtered.
        attributes = folder / ".git" / "info" / "attributes"
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text("* -text -eol -filter -ident -working-tree-encoding\n")
        _git(folder, environment, "remote", "add", "origin", url)
        found = _git(
            folder,
            environment,
            "ls-remote",
            "--exit-code",
            "origin",
            _REF,
            check=False,
        )
        if found.returncode == 2:  # noqa: PLR2004 - git's word for "no such branch".
            return Checkout(folder=folder, environment=environment, exists=False)
        if found.returncode:
            raise Failure(f"The branch {BRANCH} is out of reach: {found.stderr.strip()}")
        _git(folder, environment, "sparse-checkout", "set", "--no-cone", f"/{_MARKER}")
        fetch = ("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", _REF)
        _git(folder, environment, *fetch)
        _git(folder, environment, "checkout", "--quiet", "-B", BRANCH, "FETCH_HEAD")
        checkout = Checkout(folder=folder, environment=environment, exists=True)
        self._check_marker(folder / _MARKER)
        return checkout

    @staticmethod
    def _check_marker(marker: Path) -> None:
        advice = "Nothing was changed on it. Repair the branch, or rename it to start a new one."
        try:
            schema = read_json(marker).get("schema")
        except Failure as problem:
            raise Failure(
                f"The branch {BRANCH} is not ours, or is damaged: {problem.message} {advice}",
                file=_MARKER,
            ) from None
        if not isinstance(schema, int) or isinstance(schema, bool):
            raise Failure(f"The branch {BRANCH} is damaged: no schema number. {advice}")
        if schema > SCHEMA:
            raise Failure(
                f"The branch {BRANCH} was written by a newer version (schema {schema}; this one "
                f"knows {SCHEMA}). Pin the newer version in every workflow."
            )

    def transaction(self, change: Callable[[Checkout], T], message: str) -> T:
        """Make ``change`` on the newest state and push it; again, when the push is refused.

        ``change`` may run several times, each time on a fresh checkout.
        """
        last = ""
        for attempt in range(_ATTEMPTS):
            with tempfile.TemporaryDirectory(prefix="mlops-state-") as folder:
                checkout = self.checkout(Path(folder))
                result = change(checkout)
                write_json(Path(folder) / _MARKER, {"schema": SCHEMA})
                # By force: what a model brings may be named in a .gitignore, its own too.
                checkout.git("add", "--all", "--force", "--sparse", ".")
                if checkout.git("diff", "--cached", "--quiet", check=False).returncode == 0:
                    return result
                checkout.git(
                    "-c", "user.name=mlops-actions",
                    "-c", "user.email=mlops-actions@users.noreply.github.com",
                    "commit", "--quiet", "--no-verify", f"--message={message}",
                )  # fmt: skip
                pushed = checkout.git("push", "--quiet", "origin", f"HEAD:{_REF}", check=False)
                if pushed.returncode == 0:
                    return result
                last = pushed.stderr.strip()
            if not any(words in last for words in _RACED):
                break
            github.info(f"The branch {BRANCH} moved; trying again on its new state.")
            time.sleep(random.uniform(0.1, 0.5) * (attempt + 1))  # noqa: S311 - a wait, no secret.
        raise Failure(
            f"The branch {BRANCH} could not be pushed: {last[-2000:]} "
            "The job needs contents: write, and no rule on the branch may forbid the push."
        )
