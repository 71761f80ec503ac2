# ruff: noqa: INP001 - part of a program of its own.
"""Check a Dockerfile by two of Trivy's checks: a user that is not root, and a health check."""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

_NAME = re.compile(r"(?i)^(?:(?:docker|container)file(?:[.-].+)?|.+\.(?:docker|container)file)$")


@dataclasses.dataclass(frozen=True)
class Check:
    """What Trivy says of a check."""

    id: str
    severity: str
    title: str
    message: str
    resolution: str

    def finding(self, message: str) -> dict[str, Any]:
        """Give a failure in Trivy's form."""
        url = f"https://avd.aquasec.com/misconfig/{self.id.lower()}"
        return {
            "Type": "Dockerfile Security Check",
            "ID": self.id,
            "AVDID": f"AVD-{self.id}",
            "Title": self.title,
            "Description": self.title,
            "Message": message,
            "Resolution": self.resolution,
            "Severity": self.severity,
            "PrimaryURL": url,
            "References": [url],
            "Status": "FAIL",
            "Layer": {},
            "CauseMetadata": {"Provider": "Dockerfile", "Service": "general"},
        }


ROOT = Check(
    "DS-0002",
    "HIGH",
    "Image user should not be 'root'",
    "Specify at least 1 USER command in Dockerfile with non-root user as argument",
    "Add 'USER <non root user name>' line to the Dockerfile",
)
HEALTH = Check(
    "DS-0026",
    "LOW",
    "No HEALTHCHECK defined",
    "Add HEALTHCHECK instruction in your Dockerfile",
    "Add HEALTHCHECK instruction in Dockerfile",
)


def find(where: Path, skipped_folders: list[str]) -> list[Path]:
    """Give the Dockerfiles in a folder, or the file itself."""
    if where.is_file():
        return [where]
    found = []
    # Named from there, or from the root of the machine.
    skipped = {where / name for name in skipped_folders}
    for folder, folders, files in os.walk(where):
        folders[:] = [
            name for name in folders if name != ".git" and Path(folder) / name not in skipped
        ]
        found += [Path(folder) / name for name in files if _NAME.match(name)]
    return sorted(found)


def instructions(text: str) -> list[tuple[str, str]]:
    """Give the instructions of a Dockerfile in capitals, with their arguments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\[ \t]*\n", " ", "\n".join(lines))
    parts = [line.strip().split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(part[0].upper(), part[1] if len(part) > 1 else "") for part in parts]


def check(text: str) -> list[dict[str, Any]]:
    """Give the failures of a Dockerfile. What counts is the last stage and what it is made from."""
    users: dict[str, str | None] = {}
    stage, user, healthy = "", None, False
    for word, argument in instructions(text):
        if word == "FROM":
            names = [part for part in argument.split() if not part.startswith("--")]
            user = users.get(names[0].lower()) if names else None
            stage = names[2].lower() if len(names) > 2 and names[1].upper() == "AS" else ""  # noqa: PLR2004
        elif word == "USER":
            user = argument.split(":")[0].strip("\"' ")
        elif word == "HEALTHCHECK":
            healthy = True
        users[stage] = user
    failures = []
    if user is None:
        failures.append(ROOT.finding(ROOT.message))
    elif user in {"root", "0"}:
        failures.append(ROOT.finding("Last USER command in Dockerfile should not be 'root'"))
    if not healthy:
        failures.append(HEALTH.finding(HEALTH.message))
    return failures
