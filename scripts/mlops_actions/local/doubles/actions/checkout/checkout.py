# ruff: noqa: INP001, T201 - a program of its own, which prints to the step's log.
"""Stand for actions/checkout: fetch from the local run's origin with the real git."""

import os
import re
import subprocess
import sys
from pathlib import Path


def git(*arguments: str, folder: Path) -> str:
    """Run git in ``folder``; end the step when it fails."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, text=True, stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        sys.exit(f"::error::git {arguments[0]} failed with exit code {done.returncode}")
    return done.stdout.strip()


def main() -> None:
    """Check out what the inputs name."""
    print("double of actions/checkout: the real git, from the run's own origin", flush=True)
    workspace = Path(os.environ["GITHUB_WORKSPACE"]).resolve()
    repository = os.environ["REPOSITORY"]
    if repository != os.environ["GITHUB_REPOSITORY"]:
        sys.exit(f"::error::{repository} is another repository: out of reach in a local run")
    folder = (workspace / os.environ["FOLDER"]).resolve()
    if not folder.is_relative_to(workspace):
        sys.exit(f"::error::path {os.environ['FOLDER']!r} is not under the workspace")
    asked = os.environ["REF"]
    own = not asked or asked == os.environ["GITHUB_REF"]
    ref = asked or os.environ["GITHUB_REF"]
    is_commit = re.fullmatch(r"[0-9a-f]{40}", ref) is not None

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git("init", "--quiet", "--initial-branch", "main", ".", folder=folder)
        git("remote", "add", "origin", os.environ["MLOPS_LOCAL_ORIGIN"], folder=folder)
    depth = int(os.environ["DEPTH"] or 1)
    fetch = ["fetch", "--quiet", "--no-tags", "--prune", "origin"]
    if depth:
        fetch.append(f"--depth={depth}")
    else:
        everything = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
        git(*fetch, *everything, folder=folder)
        fetch.remove("--prune")  # Of what comes next alone, it would take all the rest away.
    if os.environ["TAGS"] == "true":
        fetch.append("+refs/tags/*:refs/tags/*")
    # The event's own commit, wherever its branch is now; else what the name means today.
    if own:
        source, name = os.environ["GITHUB_SHA"], ref
    elif is_commit:
        source, name = ref, ""
    else:
        source = name = _full(ref, folder)
    local = name.replace("refs/heads/", "refs/remotes/origin/").replace(
        "refs/pull/", "refs/remotes/pull/"
    )
    git(*fetch, f"+{source}:{local}" if local else source, folder=folder)
    start = local or source
    branch = name.removeprefix("refs/heads/")
    if branch != name:
        git("checkout", "--quiet", "--force", "-B", branch, start, folder=folder)
        git("branch", "--quiet", f"--set-upstream-to=origin/{branch}", branch, folder=folder)
    else:
        git("checkout", "--quiet", "--force", "--detach", start, folder=folder)
    if os.environ["CLEAN"] == "true":
        git("clean", "--quiet", "-ffdx", folder=folder)
    commit = git("rev-parse", "HEAD", folder=folder)
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"ref={ref}\ncommit={commit}\n")
    print(f"{ref} at {commit}")


def _full(ref: str, folder: Path) -> str:
    if ref.startswith("refs/"):
        return ref
    listed = git("ls-remote", "origin", f"refs/heads/{ref}", f"refs/tags/{ref}", folder=folder)
    names = [line.split("\t")[1] for line in listed.splitlines()]
    if not names:
        sys.exit(f"::error::A branch or tag with the name {ref!r} could not be found")
    return names[0]


main()
