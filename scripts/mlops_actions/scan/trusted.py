"""Files with which a repository would tell Trivy what not to find."""

from __future__ import annotations

from pathlib import Path

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


def untrusted_configuration(folder: Path) -> list[Path]:
    """Give the files in a folder with which Trivy would be configured, were it run there.

    None of them counts: the policy is in ``mlops.yaml``. The scan itself has to be run with other
    files given in their place, see ``docs/scan.md``.
    """
    found = [folder / name for name in _READ_BY_TRIVY]
    return [path for path in found if path.is_file() or path.is_symlink()]
