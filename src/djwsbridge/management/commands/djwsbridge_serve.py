"""Serve the site: uvicorn with the fast path, and defaults for the public."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand
from django.core.management.base import CommandError as ManagementError

from djwsbridge.publish import is_local_to_a_process

LAST_PORT = 65_535
ENDED = "The server has ended."


class Command(BaseCommand):
    """`manage.py djwsbridge_serve --workers 4`."""

    help = (
        "Serve the project's ASGI application with uvicorn and djwsbridge's protocol classes: the fast path. "
        "Needs the extra: pip install 'djwsbridge[server]'. SIGTERM sends clients to other processes before it ends."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what and where."""
        parser.add_argument(
            "--application",
            default=None,
            help="such as mysite.asgi:application; ASGI_APPLICATION unless told",
        )
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--workers", type=int, default=1, help="processes that share the port")
        parser.add_argument(
            "--grace", type=int, default=20, help="seconds for what is under way at the end"
        )
        parser.add_argument(
            "--uvicorn-log-level",
            default="warning",
            choices=["critical", "error", "warning", "info", "debug"],
            help="of the server's own lines; below warning there is one for every connection",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until the process is told to end.

        Raises:
            ManagementError: it cannot run, and what to do about that.
        """
        if not 0 < options["port"] <= LAST_PORT:
            raise ManagementError(f"--port takes a number from 1 to {LAST_PORT}.")
        if options["workers"] < 1:
            raise ManagementError("--workers takes 1 or more.")
        if options["workers"] > 1 and is_local_to_a_process():
            raise ManagementError(
                "Several processes need an engine that connects them: a channel layer on Redis, or "
                'DJWSBRIDGE_ENGINE = "redis" with DJWSBRIDGE_REDIS_URL. Or: --workers 1'
            )
        try:
            from djwsbridge.server.run import run  # noqa: PLC0415  uvicorn is optional
        except ImportError as error:
            raise ManagementError(f"{error}. Try: pip install 'djwsbridge[server]'") from error
        application = options["application"] or _application()
        workers = options["workers"]
        self._say(
            f"Serving {application} at {_url(options['host'], options['port'])}"
            f" ({workers} {'process' if workers == 1 else 'processes'})"
        )
        # uvicorn puts its own handler before this one, and hands the signal on when it has ended.
        signal.signal(signal.SIGTERM, self._end)
        run(
            application,
            host=options["host"],
            port=options["port"],
            workers=workers,
            grace=options["grace"],
            log_level=options["uvicorn_log_level"],
        )
        self._say(ENDED)

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Say so and end as a process without a handler does."""
        self._say(ENDED)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def _say(self, line: str) -> None:
        """Print a line now: into a file it would wait for more."""
        self.stdout.write(line)
        self.stdout.flush()


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _application() -> str:
    """Return ASGI_APPLICATION in uvicorn's words."""
    path = getattr(django_settings, "ASGI_APPLICATION", None)
    if not path:
        raise ManagementError(
            "ASGI_APPLICATION is not set. Name the application: --application mysite.asgi:application"
        )
    module, _, name = path.rpartition(".")
    return f"{module}:{name}"
