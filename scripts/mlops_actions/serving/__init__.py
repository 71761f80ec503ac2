"""The server that runs in the image: one model over HTTP.

It is copied there alone, so it imports nothing else of this project. Beside the model's own
requirements it needs ``requirements.txt``.
"""
