"""Serve the reference project for trying it out: migrate, make demo data, start the server."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
LAST_PORT = 65535


def main() -> None:
    """Prepare the database and become the server."""
    port = read_port()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    prepare()
    print(
        f"For http://{HOST}:{port}/admin/ make a login of your own: "
        f"{os.path.relpath(sys.executable)} manage.py createsuperuser\n\n"
        f"Open http://{HOST}:{port}/ in two browsers. Ctrl-C stops the server.\n",
        flush=True,
    )
    serve = ["djwsbridge_serve", "--host", HOST, "--port", str(port), "--grace", "5"]
    os.execv(sys.executable, [sys.executable, "manage.py", *serve])


def read_port() -> int:
    """Return the port that was asked for, or end with a sentence when it cannot be had."""
    wanted = sys.argv[1]
    port = int(wanted) if wanted.isascii() and wanted.isdigit() else 0
    if not 0 < port <= LAST_PORT:
        sys.exit(f"PORT={wanted} is no port: choose a number from 1 to {LAST_PORT}.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            sys.exit(f"Port {port} is not allowed to you. Try: make run PORT=8000")
        except OSError:
            sys.exit(f"Port {port} is taken by another program. Try: make run PORT={port + 1}")
    return port


def prepare() -> None:
    """Bring the database up to date and make the demo people, rooms and messages.

    What the environment says wrongly, and a database that does not answer, end this with a sentence.
    """
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import call_command
    from django.db import OperationalError, connection

    try:
        django.setup()
    except (ImproperlyConfigured, ValueError) as error:
        sys.exit(str(error))
    # A pool that gets no connection says after how long, and not why.
    connection.settings_dict["OPTIONS"].pop("pool", None)
    try:
        call_command("migrate", verbosity=0)
    except OperationalError as error:
        reason = str(error).strip().partition("\n")[0]
        sys.exit(f"The database of DATABASE_URL does not answer: {reason}")
    call_command("djwsbridge_demo")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
