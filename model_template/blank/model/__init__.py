"""The model: from data to predictions."""

import os

# Threads that wait for each other spin, unless told otherwise before scikit-learn is imported: on
# a machine that is shared, training takes ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
