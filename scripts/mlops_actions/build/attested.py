"""Whether a verdict was signed by train.yml, on this repository's branch: GitHub's own client says.

Whoever may write the registry can write a chain of evidence that is whole in itself. The signature
is what tells it apart.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from mlops_actions import evidence, github
from mlops_actions.errors import ConfigurationError, Failure

_OURS = "mlops-actions/mlops-actions"
_COMMIT = 40  # Digits.


def signer() -> str:
    """The workflow that must have signed: train.yml of the repository that this code is from.

    The runner unpacks an action under ``<owner>/<repository>/<commit>``.
    """
    root = Path(__file__).resolve().parents[3]
    is_unpacked = len(root.name) == _COMMIT and set(root.name) <= set("0123456789abcdef")
    repository = "/".join(root.parts[-3:-1]) if is_unpacked else _OURS
    return f"{repository}/.github/workflows/train.yml"


def verify(verdict: Path) -> evidence.Check:
    """Give the check that ``gate.json`` is attested; raise :class:`Failure` when it is not.

    Source: "gh attestation verify", GitHub CLI manual.
    """
    event = github.event()
    required = f"signed by {signer()} on {event.ref}"
    words = [
        "gh", "attestation", "verify", str(verdict), "--repo", event.repository,
        "--signer-workflow", signer(), "--source-ref", event.ref,
    ]  # fmt: skip
    try:
        answer = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConfigurationError(
            "gh is not installed on this runner, and unattested: refuse needs it to verify the "
            "signature of a verdict."
        ) from None
    if answer.returncode:
        raise Failure(
            f"The verdict is not {required}: {answer.stderr.strip()[-500:]} Nothing is pushed."
        )
    return evidence.check("attestation", "pass", "signed", required)
