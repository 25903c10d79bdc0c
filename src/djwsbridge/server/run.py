"""Run a site on uvicorn with the fast path, as `manage.py djwsbridge_serve` does."""

from __future__ import annotations

import importlib.util
import logging
import signal
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

__all__ = ["run"]

logger = logging.getLogger("djwsbridge.server")

PING_INTERVAL = 25.0  # seconds; home routers forget a silent connection after a minute or so
BACKLOG = 4_096  # connections that wait to be accepted: after a restart everybody comes at once


def run(
    application: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    grace: int = 20,
    log_level: str = "warning",
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        application: an ASGI application, such as `mysite.asgi:application`.
        host: the address to listen on.
        port: likewise.
        workers: processes that share the port; more than one needs an engine that connects them.
        grace: seconds that requests may still take after the drain.
        log_level: of uvicorn's own lines; below "warning" there is one for every connection.
    """
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "workers": workers,
        "loop": "uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
        "http": "djwsbridge.server:HTTPProtocol",
        "ws": "djwsbridge.server:WebSocketProtocol",
        "ws_ping_interval": PING_INTERVAL,
        "backlog": BACKLOG,
        "timeout_graceful_shutdown": grace,
        "log_level": log_level,
        "access_log": False,
        "server_header": False,
    }
    if workers == 1:
        uvicorn.run(application, **options)
    else:
        config = uvicorn.Config(application, **options)
        Supervisor(config, sockets=[config.bind_socket()]).run()


class Supervisor(Multiprocess):
    """Start workers, and others for those that die. Log each death: uvicorn does so at INFO, among its other lines."""

    def keep_subprocess_alive(self) -> None:
        """Look at the workers, and replace who has died or does not answer."""
        before = list(self.processes)
        super().keep_subprocess_alive()
        for process in before:
            if process not in self.processes:
                logger.error(
                    "The worker process %s has died (%s). Another one takes its place.",
                    process.pid,
                    _cause(process.exitcode),
                )


def _cause(status: int | None) -> str:
    """Say how a process has ended; the supervisor itself kills one that does not answer by SIGKILL."""
    if status is not None and status < 0:
        return signal.Signals(-status).name
    return f"exit status {status}"
