"""Ask the server in this container whether it is ready: the image's HEALTHCHECK.

Runs without site-packages (``python -S``), so that a check costs little.
"""

from __future__ import annotations

import http.client
import os
import sys


def main() -> int:
    """Give 0 when ``/ready`` answers with 200."""
    port = int(os.environ.get("MLOPS_PORT") or 8080)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/ready")
        return 0 if connection.getresponse().status == http.client.OK else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
