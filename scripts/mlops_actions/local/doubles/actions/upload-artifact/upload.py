# ruff: noqa: INP001, T201 - a program of its own, which prints to the step's log.
"""Stand for actions/upload-artifact: copy the files into the local run's folder of artifacts.

What an artifact loses on GitHub it loses here: rights, empty folders and links (what a link leads
to is taken).
"""

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

_MAGIC = re.compile(r"[*?\[]")


def expression(pattern: str) -> re.Pattern[str]:
    """Translate a pattern for absolute paths; ``*`` stays in a folder, ``**`` does not."""
    text = ""
    for part in re.split(r"(/\*\*/|/\*\*$|\*|\?|\[[^]]+\])", pattern):
        if part == "/**/":
            text += "/(?:.*/)?"
        elif part == "/**":
            text += "(?:/.*)?"
        elif part == "*":
            text += "[^/]*"
        elif part == "?":
            text += "[^/]"
        elif part.startswith("["):
            text += part
        else:
            text += re.escape(part)
    return re.compile(text)


def absolute(line: str, workspace: Path) -> str:
    """Give a line of ``path`` as an absolute pattern without ``.`` and ``..``."""
    return os.path.normpath(workspace / Path(line).expanduser())


def matches(path: str, wanted: re.Pattern[str]) -> bool:
    """Whether the path, or a folder that holds it, matches."""
    return any(wanted.fullmatch(one) for one in (path, *map(str, Path(path).parents)))


def search(pattern: str, *, hidden: bool) -> tuple[str, list[str]]:
    """Give where the search for a pattern begins, and the files that it finds."""
    parts = pattern.split("/")
    fixed = next((i for i, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    root = "/".join(parts[:fixed]) or "/"
    if not hidden and Path(root).name.startswith("."):
        return root, []
    if Path(root).is_file():
        return root, [root] if fixed == len(parts) else []
    wanted = expression(pattern)
    found = []
    for folder, folders, files in os.walk(root, followlinks=True):
        if not hidden:
            folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            path
            for name in files
            if (hidden or not name.startswith(".")) and matches(path := f"{folder}/{name}", wanted)
        ]
    return root, sorted(found)


def collect(lines: list[str], workspace: Path, *, hidden: bool) -> tuple[Path, list[Path]]:
    """Give the folder that the artifact's paths are relative to, and the files."""
    roots, files = [], set()
    for line in (line for line in lines if not line.startswith("!")):
        root, found = search(absolute(line, workspace), hidden=hidden)
        roots.append(root)
        files |= set(found)
    for line in (line for line in lines if line.startswith("!")):
        unwanted = expression(absolute(line[1:].strip(), workspace))
        files = {path for path in files if not matches(path, unwanted)}
    if len(roots) > 1:
        top = Path(os.path.commonpath(roots))
    else:
        top = Path(roots[0]) if roots else workspace
    return (top.parent if top.is_file() else top), sorted(Path(path) for path in files)


def flag(name: str) -> bool:
    """Read a boolean input."""
    if os.environ[name].lower() not in {"true", "false"}:
        sys.exit(f"::error::{name.lower()}: expected true or false")
    return os.environ[name].lower() == "true"


def main() -> None:
    """Copy the files, unless there is an artifact of that name already."""
    print("double of actions/upload-artifact: files are kept with the local run", flush=True)
    name = os.environ["NAME"]
    if not name or re.search(r'["<>|*?:\\/\r\n]', name):
        sys.exit(f"::error::The artifact name is not valid: {name!r}")
    if os.environ["ARCHIVE"] != "true":
        sys.exit("::error::archive: only true is known in a local run")
    if not os.environ["RETENTION"].isdigit():
        sys.exit("::error::retention-days: expected a number")
    lines = [line.strip() for line in os.environ["PATHS"].splitlines() if line.strip()]
    top, files = collect(lines, Path(os.environ["GITHUB_WORKSPACE"]), hidden=flag("HIDDEN"))
    if not files:
        message = f"No files were found with the provided path: {' '.join(lines)}."
        policy = os.environ["IF_NONE"]
        if policy == "error":
            sys.exit(f"::error::{message}")
        if policy == "warn":
            print(f"::warning::{message} No artifacts will be uploaded.")
        elif policy == "ignore":
            print(message)
        else:
            sys.exit(f"::error::if-no-files-found: expected warn, error or ignore, not {policy!r}")
        return
    store = Path(os.environ["MLOPS_LOCAL_ARTIFACTS"])
    store.mkdir(parents=True, exist_ok=True)
    target = store / name
    if flag("OVERWRITE") and target.exists():
        shutil.rmtree(target)
    try:
        target.mkdir()
    except FileExistsError:
        sys.exit(
            "::error::Failed to CreateArtifact: (409) Conflict: an artifact with this name "
            f"already exists on the workflow run: {name}"
        )
    digest = hashlib.sha256()
    for file in files:
        inner = file.relative_to(top)
        (target / inner).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / inner)
        digest.update(f"{inner}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    number = int(
        hashlib.sha256(f"{os.environ['GITHUB_RUN_ID']}/{name}".encode()).hexdigest()[:8], 16
    )
    facts = {"id": number, "digest": digest.hexdigest(), "files": len(files)}
    facts["retention-days"] = int(os.environ["RETENTION"])
    (store / f".{name}.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as output:
        output.write(f"artifact-id={number}\n")
        output.write(f"artifact-url={target.as_uri()}\n")
        output.write(f"artifact-digest={digest.hexdigest()}\n")
    print(f"{name}: {len(files)} files from {top}")


if __name__ == "__main__":
    main()
