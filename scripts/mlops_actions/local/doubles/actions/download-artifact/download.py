# ruff: noqa: INP001, T201 - a program of its own, which prints to the step's log.
"""Stand for actions/download-artifact: copy what an earlier job of the local run uploaded."""

import fnmatch
import json
import os
import shutil
import sys
from pathlib import Path


def chosen(store: Path) -> list[Path]:
    """Give the artifacts' folders that the inputs name."""
    everything = sorted(path for path in store.glob("*") if path.is_dir())
    name, ids, pattern = (os.environ[key] for key in ("NAME", "IDS", "PATTERN"))
    if name:
        if store / name not in everything:
            there = ", ".join(path.name for path in everything) or "none"
            sys.exit(f"::error::Artifact not found for name: {name} (there are: {there})")
        return [store / name]
    if ids:
        wanted = {number.strip() for number in ids.split(",")}
        facts = {
            path: json.loads((store / f".{path.name}.json").read_text()) for path in everything
        }
        return [path for path in everything if str(facts[path]["id"]) in wanted]
    return [path for path in everything if fnmatch.fnmatchcase(path.name, pattern or "*")]


def main() -> None:
    """Copy them: one by name into the folder itself, several into one folder each."""
    print("double of actions/download-artifact: files come from the local run", flush=True)
    if os.environ["RUN"] not in {"", os.environ["GITHUB_RUN_ID"]}:
        sys.exit("::error::run-id: only this run's artifacts are in reach of a local run")
    if os.environ["REPOSITORY"] not in {"", os.environ["GITHUB_REPOSITORY"]}:
        sys.exit("::error::repository: only this repository's artifacts are in reach")
    if os.environ["RAW"] != "false":
        sys.exit("::error::skip-decompress: only false is known in a local run")
    target = Path(os.environ["GITHUB_WORKSPACE"], Path(os.environ["FOLDER"]).expanduser())
    artifacts = chosen(Path(os.environ["MLOPS_LOCAL_ARTIFACTS"]))
    flat = bool(os.environ["NAME"]) or os.environ["MERGE"] == "true"
    target.mkdir(parents=True, exist_ok=True)
    for artifact in artifacts:
        into = target if flat else target / artifact.name
        shutil.copytree(artifact, into, dirs_exist_ok=True)
        print(f"{artifact.name} into {into}")
    if not artifacts:
        print("no artifact matches")
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as output:
        output.write(f"download-path={target}\n")


main()
