"""The champion-challenger gate: predictions in, a verdict out."""
