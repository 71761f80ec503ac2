"""The champion-challenger gate: predictions in, a verdict out."""

from mlops_actions.gate.command import add_arguments, run

__all__ = ["add_arguments", "run"]
