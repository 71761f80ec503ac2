"""Serve the model until the process is asked to end."""

from __future__ import annotations

import os
import signal
import sys

from .logs import LOGGER, configure
from .settings import Settings


def main() -> int:
    """Give 0 after a graceful end, 1 when the model cannot be loaded, 2 for wrong settings."""
    configure()
    try:
        settings = Settings.read(os.environ)
    except ValueError as problem:
        LOGGER.error("%s", problem)
        return 2
    import uvicorn

    from .app import Service

    failed = []

    def fail() -> None:
        failed.append(True)
        server.should_exit = True

    service = Service(settings, fail)
    server = uvicorn.Server(
        uvicorn.Config(
            service.application(),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        )
    )
    # uvicorn ends in order, then raises what it caught once more: being asked to end is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run()
    LOGGER.info("ended")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
