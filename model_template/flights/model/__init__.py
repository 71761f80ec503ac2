"""Late arrivals of flights: from the timetable to a probability."""

import os

# Before scikit-learn is imported. How many threads add up decides the last digits of a sum, so that
# each machine would make another model. Where training takes hours, set OMP_NUM_THREADS yourself.
os.environ.setdefault("OMP_NUM_THREADS", "1")
