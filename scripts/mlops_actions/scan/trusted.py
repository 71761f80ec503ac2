"""What configures Trivy: files of ours, and those with which a repository would do it."""

from __future__ import annotations

import re
from pathlib import Path

from mlops_actions.config import Project
from mlops_actions.errors import ConfigurationError

# Trivy reads these from its working directory without being told to. A change that is scanned may
# bring them. The last one holds rules for secrets, and can switch the built-in ones off.
# Source: "Config file" and "Secret Scanning", Trivy documentation 0.74.
_READ_BY_TRIVY = (
    ".trivyignore",
    ".trivyignore.yaml",
    ".trivyignore.yml",
    "trivy.yaml",
    "trivy.yml",
    "trivy-secret.yaml",
)
_CONFIGURATION, _IGNORED, _SECRETS = "trivy.yaml", "nothing.trivyignore", "trivy-secret.yaml"
_INLINE = re.compile(r"#.*\b(?:trivy|tfsec):ignore:", re.IGNORECASE)


def write_configuration(folder: Path) -> None:
    """Write the files that Trivy is given in place of a repository's own.

    ``trivy.yaml`` (the input ``trivy-config`` of its action) filters nothing, shows what is hidden
    all the same, and names empty rules for secrets; ``nothing.trivyignore`` (``trivyignores``) has
    no entry.
    """
    secrets = (folder / _SECRETS).absolute()
    (folder / _CONFIGURATION).write_text(
        "# Trivy finds; the section scan of mlops.yaml decides.\n"
        "severity: [UNKNOWN, LOW, MEDIUM, HIGH, CRITICAL]\n"
        "scan:\n"
        "  disable-telemetry: true\n"
        "  show-suppressed: true\n"
        "  skip-version-check: true\n"
        "secret:\n"
        f'  config: "{secrets}"\n'
        "vulnerability:\n"
        "  ignore-unfixed: false\n",
        encoding="utf-8",
    )
    (folder / _IGNORED).write_text("# Waivers stand in mlops.yaml.\n", encoding="utf-8")
    (folder / _SECRETS).write_text("disable-rules: []\n", encoding="utf-8")


def untrusted_configuration(folder: Path) -> list[Path]:
    """Give the files in a folder with which Trivy would be configured, were it run there.

    None of them counts: the policy is in ``mlops.yaml``. The scan itself has to be run with other
    files given in their place, see ``docs/scan.md``.
    """
    found = [folder / name for name in _READ_BY_TRIVY]
    return [path for path in found if path.is_file() or path.is_symlink()]


def refuse_comments(project: Project) -> None:
    """Raise :class:`ConfigurationError` at a comment of the user's Dockerfile that hides a finding.

    Trivy obeys it without a word in its report: it would be a waiver without reason, owner or end.
    """
    named = project.config.build.dockerfile
    path = project.path(named) if named else None
    if path is None or not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if _INLINE.search(line):
            raise ConfigurationError(
                "This comment hides a finding from Trivy for ever. Waive it in mlops.yaml "
                "(scan.waivers), with a reason, an owner and a date.",
                file=path,
                line=number,
            )
