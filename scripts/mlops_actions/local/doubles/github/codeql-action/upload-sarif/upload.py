# ruff: noqa: INP001, T201 - a program of its own, which prints to the step's log.
"""Stand for github/codeql-action/upload-sarif: the findings are kept with the local run."""

import json
import os
import re
import sys
from pathlib import Path


def main() -> None:
    """Check the form, and keep the file."""
    print("double of github/codeql-action/upload-sarif: kept with the run", flush=True)
    file = Path(os.environ["GITHUB_WORKSPACE"], os.environ["FILE"])
    if not file.is_file():
        sys.exit(f"::error::Path does not exist: {file}")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as problem:
        sys.exit(f"::error::Invalid SARIF. JSON syntax error: {problem}")
    if document.get("version") != "2.1.0" or not isinstance(document.get("runs"), list):
        sys.exit("::error::Invalid SARIF: version 2.1.0 with runs is expected")
    folder = Path(os.environ["MLOPS_LOCAL_ARTIFACTS"]).parents[1] / "sarif"
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]", "-", os.environ["CATEGORY"] or "default")
    (folder / f"{name}.sarif").write_text(json.dumps(document), encoding="utf-8")
    count = sum(len(run.get("results") or []) for run in document["runs"])
    print(f"{count} results in category {name}")
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as output:
        output.write(f"sarif-id={name}\n")


main()
