"""Decide by Trivy's reports whether an image may be used.

Trivy finds; the policy is the section ``scan`` of ``mlops.yaml``. Nothing that Trivy was told to
ignore, and no exit code of its, takes part in the verdict.
"""

from mlops_actions.scan.command import add_arguments, run

__all__ = ["add_arguments", "run"]
