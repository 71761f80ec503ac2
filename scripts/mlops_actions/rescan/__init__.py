"""Judge the image in use by today's advisories, and keep one issue while it fails."""

from mlops_actions.rescan.command import add_arguments, run

__all__ = ["add_arguments", "run"]
