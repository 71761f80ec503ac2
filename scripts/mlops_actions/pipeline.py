"""What a model is made from, as one digest: code, data, lock files and environment."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlops_actions import github
from mlops_actions.config import Project
from mlops_actions.errors import Failure
from mlops_actions.evidence import sha256_file
from mlops_actions.state import git_environment

_NOT_CODE = (":(exclude,glob)**/*.md", ":(exclude,glob)**/.github/**")


def git(
    folder: Path,
    *arguments: str,
    environment: dict[str, str] | None = None,
    errors: str = "strict",
) -> str:
    """Run git in the user's repository; give what it printed.

    ``errors`` says what becomes of bytes that are not UTF-8, as for :meth:`bytes.decode`.
    """
    answer = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        errors=errors,
        check=False,
    )
    if answer.returncode:
        raise Failure(f"git {arguments[0]} failed: {answer.stderr.strip()[-1000:]}")
    return answer.stdout


def fetch_base(folder: Path) -> str:
    """Bring the base branch's commit of the pull request into the repository; give its name.

    One that is there is not asked for again: the step that needs it beside user code has no token.
    """
    request = github.event().pull_request or {}
    commit = str((request.get("base") or {}).get("sha") or "")
    if not commit:
        raise Failure("the event names no commit of a base branch.")
    try:
        git(folder, "cat-file", "-e", f"{commit}^{{commit}}")
    except Failure:
        url = git(folder, "remote", "get-url", "origin").strip()
        environment = git_environment(url, os.environ.get("GITHUB_TOKEN") or None)
        git(folder, "fetch", "--quiet", "--depth=1", "origin", commit, environment=environment)
    return commit


def code_digest(folder: Path) -> str:
    """Digest of the commit's tracked files, of the whole repository but prose and workflows.

    The whole of it: a shared module outside the model's folder changes the model, too.
    """
    top = Path(git(folder, "rev-parse", "--show-toplevel").strip())
    # A name need not be UTF-8.
    listed = git(top, "ls-files", "--stage", "-z", "--", ".", *_NOT_CODE, errors="surrogateescape")
    return hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()


def digest(project: Project, data: dict[str, Any], python_version: str) -> str:
    """Digest of everything that decides which model training makes.

    ``data`` is ``data.json``; its digests are of the files before training.
    """
    content = {
        "code": code_digest(project.folder),
        "training": data["training"]["digest"],
        "python": ".".join(python_version.split(".")[:2]),
    }
    for name in ("uv.lock", "requirements.txt", "dvc.lock"):
        path = project.folder / name
        tracked = git(project.folder, "ls-files", "--stage", "--", name)
        # As committed: the data command may have rewritten dvc.lock since.
        content[name] = tracked or (
            sha256_file(path) if path.is_file() and name != "dvc.lock" else ""
        )
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digest_again(project: Project, data: dict[str, Any], trained: Mapping[str, Any]) -> str:
    """Compute the digest without believing what ``train.json`` says it is.

    Only Python's version is that document's word: it cannot be seen in another job.
    """
    environment = trained.get("environment")
    python = environment.get("python") if isinstance(environment, dict) else None
    return digest(project, data, str(python or ""))


def dvc_versions(folder: Path) -> dict[str, str]:
    """Give path -> DVC's hash of each output in ``dvc.lock``; empty without one."""
    path = folder / "dvc.lock"
    if not path.is_file():
        return {}
    try:
        lock = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        return {
            str(out["path"]): str(out.get("md5") or out.get("hash") or "")
            for stage in (lock or {}).get("stages", {}).values()
            for out in stage.get("outs", [])
        }
    except (YAMLError, AttributeError, KeyError, TypeError):
        raise Failure("This is not a lock file of DVC's.", file=path) from None


def lock_changed(folder: Path) -> bool:
    """Whether ``dvc.lock`` differs from the commit, or is new."""
    return bool(git(folder, "status", "--porcelain", "--", "dvc.lock").strip())
