"""The repository a local run works on: a bare copy that stands for the one on GitHub.

The user's repository is only read. Its branches, and a commit of what is not committed yet, go to
the bare copy; workflows check out from it and push to it. It is kept between runs, and with it the
branch ``mlops-state``.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlops_actions.errors import ConfigurationError, Failure

STATE_BRANCH = "mlops-state"
_NOBODY = "0" * 40
# Written by us, not by the user: the same files on the same commit always give the same commit.
_IDENTITY = {
    "GIT_AUTHOR_NAME": "mlops-actions local",
    "GIT_AUTHOR_EMAIL": "local@localhost",
    "GIT_COMMITTER_NAME": "mlops-actions local",
    "GIT_COMMITTER_EMAIL": "local@localhost",
}


def git(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run git; give its standard output without the last newline.

    Raises:
        Failure: git failed; the message holds what it said.

    """
    # A hook or a caller's git may have set these, and they would lead us to another repository.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_DIR")}
    for name in ("GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        clean.pop(name, None)
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd,
            env={**clean, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise Failure("git is not installed, or not on PATH.") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise Failure(f"git {' '.join(arguments[:2])} failed in {cwd}: {said}")
    return done.stdout.rstrip("\n")


def _try(*arguments: str, cwd: Path) -> str | None:
    try:
        return git(*arguments, cwd=cwd)
    except Failure:
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What the user's repository held when the run began; commits are in the bare copy."""

    slug: str  # OWNER/NAME
    branch: str  # The branch that is checked out; the default branch when none is.
    default_branch: str
    head: str  # The commit, with what was not committed on top of it.
    uncommitted: bool
    before: str | None  # Where the bare copy's branch stood before.


def top_level(repo: Path) -> Path:
    """Find the repository that holds ``repo``.

    Raises:
        ConfigurationError: there is none, or it has no commit yet.

    """
    if not repo.is_dir():
        raise ConfigurationError(f"--repo: {repo} is not a directory.")
    top = _try("rev-parse", "--show-toplevel", cwd=repo)
    if not top:
        raise ConfigurationError(f"--repo: {repo} is not in a git repository; run git init.")
    if _try("rev-parse", "--verify", "--quiet", "HEAD^{commit}", cwd=Path(top)) is None:
        raise ConfigurationError(f"{top} has no commit yet; commit the files first.")
    return Path(top)


def slug_of(repo: Path) -> str:
    """Give ``OWNER/NAME``: from the remote ``origin``, else ``local/`` and the directory's name."""
    url = _try("remote", "get-url", "origin", cwd=repo) or ""
    found = re.search(r"[/:]([\w.-]+)/([\w.-]+?)(?:\.git)?/?$", url)
    if found and re.match(r"(https?|ssh|git)://|[\w.-]+@", url):
        return f"{found[1]}/{found[2]}"
    return f"local/{re.sub(r'[^A-Za-z0-9_.-]', '-', repo.name) or 'repository'}"


def _default_branch(repo: Path, current: str | None) -> str:
    remote = _try("symbolic-ref", "--short", "refs/remotes/origin/HEAD", cwd=repo)
    if remote:
        return remote.removeprefix("origin/")
    for name in ("main", "master"):
        if _try("rev-parse", "--verify", "--quiet", f"refs/heads/{name}", cwd=repo):
            return name
    return current or "main"


def _make(repo: Path, origin: Path) -> None:
    git("init", "--quiet", "--bare", str(origin), cwd=repo)
    # As on GitHub: a checkout asks for a commit by its name.
    git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=origin)
    git("config", "gc.auto", "0", cwd=origin)
    for state in (f"refs/heads/{STATE_BRANCH}", f"refs/remotes/origin/{STATE_BRANCH}"):
        if _try("rev-parse", "--verify", "--quiet", state, cwd=repo):
            git("fetch", "--quiet", str(repo), f"{state}:refs/heads/{STATE_BRANCH}", cwd=origin)
            break


def _working_tree(repo: Path, origin: Path, head: str) -> str:
    """Commit what differs from ``head`` in the bare copy; give the commit, or ``head``."""
    git_dir = Path(git("rev-parse", "--absolute-git-dir", cwd=repo))
    index = repo / git("rev-parse", "--git-path", "index", cwd=repo)
    objects = repo / git("rev-parse", "--git-path", "objects", cwd=repo)
    with tempfile.TemporaryDirectory() as folder:
        mine = Path(folder) / "index"
        if index.is_file():
            shutil.copy2(index, mine)  # Its file times spare git from reading every file again.
        env = {
            "GIT_DIR": str(git_dir),
            "GIT_WORK_TREE": str(repo),
            "GIT_INDEX_FILE": str(mine),
            "GIT_OBJECT_DIRECTORY": str(origin / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects),
            **_IDENTITY,
        }
        git("add", "--all", cwd=repo, env=env)
        tree = git("write-tree", cwd=repo, env=env)
        if tree == git("rev-parse", f"{head}^{{tree}}", cwd=repo):
            return head
        when = git("show", "--no-patch", "--format=%cI", head, cwd=repo)
        env |= {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        message = "Uncommitted changes of the working tree"
        return git("commit-tree", tree, "-p", head, "-m", message, cwd=repo, env=env)


def synchronise(repo: Path, origin: Path) -> Snapshot:
    """Bring branches, tags and uncommitted changes of ``repo`` to the bare copy.

    The user's branches are overwritten there, ``mlops-state`` never is. The bare copy is made when
    it does not exist; a ``mlops-state`` that the user's repository knows is then its beginning.
    """
    if not (origin / "HEAD").is_file():
        _make(repo, origin)
    checked_out = _try("symbolic-ref", "--quiet", "--short", "HEAD", cwd=repo)
    default = _default_branch(repo, checked_out)
    branch = checked_out or default
    before = _try("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", cwd=origin)
    git(
        "fetch",
        "--quiet",
        "--no-auto-gc",
        str(repo),
        "+refs/heads/*:refs/heads/*",
        "+refs/tags/*:refs/tags/*",
        f"^refs/heads/{STATE_BRANCH}",
        cwd=origin,
    )
    commit = git("rev-parse", "HEAD", cwd=repo)
    git("fetch", "--quiet", "--no-auto-gc", str(repo), "HEAD", cwd=origin)
    head = _working_tree(repo, origin, commit)
    if not _try("rev-parse", "--verify", "--quiet", f"refs/heads/{default}", cwd=origin):
        upstream = _try(
            "rev-parse", "--verify", "--quiet", f"refs/remotes/origin/{default}", cwd=repo
        )
        set_ref(origin, f"refs/heads/{default}", upstream or head)
    git("symbolic-ref", "HEAD", f"refs/heads/{default}", cwd=origin)
    return Snapshot(
        slug=slug_of(repo),
        branch=branch,
        default_branch=default,
        head=head,
        uncommitted=head != commit,
        before=before,
    )


def set_ref(origin: Path, ref: str, commit: str) -> None:
    """Point ``ref`` of the bare copy at ``commit``."""
    git("update-ref", ref, commit, cwd=origin)


def resolve(origin: Path, name: str) -> str:
    """Give the commit of a branch, tag or commit name.

    Raises:
        ConfigurationError: there is no such thing.

    """
    for candidate in (f"refs/heads/{name}", f"refs/tags/{name}", name):
        found = _try("rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}", cwd=origin)
        if found:
            return found
    raise ConfigurationError(f"{name!r} is neither a branch nor a commit of the repository.")


def merge(origin: Path, base: str, head: str) -> str:
    """Make the merge commit that GitHub makes of a pull request; give its name.

    Raises:
        Failure: the two conflict; GitHub then runs nothing either.

    """
    ancestor = _try("merge-base", base, head, cwd=origin)
    if ancestor == base:
        tree = git("rev-parse", f"{head}^{{tree}}", cwd=origin)
    else:
        try:
            tree = git("merge-tree", "--write-tree", base, head, cwd=origin).split("\n")[0]
        except Failure as conflict:
            raise Failure(
                "The pull request conflicts with its base, so GitHub would run nothing: "
                f"{conflict.message}"
            ) from conflict
    when = git("show", "--no-patch", "--format=%cI", head, cwd=origin)
    env = {**_IDENTITY, "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    message = f"Merge {head} into {base}"
    return git("commit-tree", tree, "-p", base, "-p", head, "-m", message, cwd=origin, env=env)


def checkout(origin: Path, commit: str, folder: Path) -> None:
    """Put the files of ``commit`` into a new clone at ``folder``."""
    git("clone", "--quiet", "--shared", "--no-checkout", str(origin), str(folder), cwd=origin)
    git("checkout", "--quiet", "--detach", commit, cwd=folder)
