"""What can be said of two models from paired rows: metrics, and intervals of their difference.

Arrays in, estimates out: nothing here knows a policy, a file or an event. `comparison.compare` is
the way in.
"""
