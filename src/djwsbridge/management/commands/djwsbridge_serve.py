"""Serve the site: uvicorn with the fast path, and defaults for the public."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand
from django.core.management.base import CommandError as ManagementError

from djwsbridge.checks import is_local_to_a_process

LAST_PORT = 65_535


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
        run(
            options["application"] or _application(),
            host=options["host"],
            port=options["port"],
            workers=options["workers"],
            grace=options["grace"],
            log_level=options["uvicorn_log_level"],
        )


def _application() -> str:
    """Return ASGI_APPLICATION in uvicorn's words."""
    path = getattr(django_settings, "ASGI_APPLICATION", None)
    if not path:
        raise ManagementError(
            "ASGI_APPLICATION is not set. Name the application: --application mysite.asgi:application"
        )
    module, _, name = path.rpartition(".")
    return f"{module}:{name}"
