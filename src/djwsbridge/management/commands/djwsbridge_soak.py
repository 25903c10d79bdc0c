"""Write and read on a site that runs, and say whether anything was lost, doubled or reordered."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from django.apps import apps
from django.conf import settings as django_settings
from django.core.management.base import BaseCommand
from django.core.management.base import CommandError as ManagementError
from django.db import IntegrityError

from djwsbridge.conf import settings
from djwsbridge.routing import socket_path

if TYPE_CHECKING:
    from djwsbridge.testing.checker import Verdict
    from djwsbridge.testing.soak import Cast, Load

POSITIVE = ("seconds", "rate", "settle")
LEAST_USERS = 2
SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class Command(BaseCommand):
    """`manage.py djwsbridge_soak --url https://example.com`."""

    help = (
        "Let temporary people write to each other in temporary rooms of a site that runs on this database, "
        "and judge what was stored and delivered. The exit status is 0 only when nothing was lost, doubled "
        "or reordered. Stop and kill servers meanwhile as you like."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take where, who, how long and how fast."""
        parser.add_argument(
            "--url", default="http://127.0.0.1:8000", help="of the site, or of its socket"
        )
        parser.add_argument("--users", type=int, default=4, help="people who write and read")
        parser.add_argument("--rooms", type=int, default=2, help="rooms, with everybody in each")
        parser.add_argument("--seconds", type=float, default=60.0, help="how long they write")
        parser.add_argument(
            "--rate", type=float, default=None, help="messages of one person in a second"
        )
        parser.add_argument(
            "--settle",
            type=float,
            default=30.0,
            help="seconds for everything to be answered and shown after the last message",
        )
        parser.add_argument(
            "--keep", action="store_true", help="do not remove people and rooms afterwards"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it, clean up, and report.

        Raises:
            ManagementError: it cannot run, or something did not hold.
        """
        _check(options)
        try:
            from djwsbridge.testing import soak  # noqa: PLC0415  needs the chat and the client
        except ImportError as error:
            raise ManagementError(f"{error}. Try: pip install 'djwsbridge[client]'") from error
        url, rate = _socket_url(options["url"]), self._rate(options)
        load = soak.Load(url, options["seconds"], rate, options["settle"])
        if django_settings.DEBUG:
            self.stderr.write("DEBUG is on: the times say little about a public site.")
        try:
            cast = soak.make_cast(options["users"], options["rooms"])
        except (IntegrityError, TypeError, ValueError) as error:
            raise ManagementError(f"The user model needs more than a name: {error}") from error
        try:
            verdict = self._run(load, cast)
        finally:
            if not options["keep"]:
                soak.remove_cast(cast)
        self.stdout.write(soak.describe(verdict))
        if verdict.state.value != "valid":
            raise ManagementError(f"The soak was {verdict.state.value}.")

    def _rate(self, options: dict[str, Any]) -> float:
        """Return the pace that was asked for, slowed down to what the limits allow."""
        from djwsbridge.testing.soak import fastest_rate  # noqa: PLC0415

        fastest = fastest_rate()
        asked: float = fastest if options["rate"] is None else options["rate"]
        if asked > fastest:
            self.stderr.write(
                f"{asked:g} messages a second would meet DJWSBRIDGE_SEND_RATE or DJWSBRIDGE_FRAME_RATE;"
                f" each person sends {fastest:g}."
            )
        return min(asked, fastest)

    def _run(self, load: Load, cast: Cast) -> Verdict:
        from djwsbridge.client import StoppedError  # noqa: PLC0415
        from djwsbridge.testing.soak import soak  # noqa: PLC0415

        self.stdout.write(
            f"{len(cast.people)} people in {len(cast.rooms)} rooms write to {load.url}"
            f" for {load.seconds:g} s, each {load.rate:g} messages a second."
        )
        try:
            return soak(load, cast, self.stdout.write)
        except TimeoutError:
            raise ManagementError(
                f"{load.url} could not be reached. Does the server run there? Say where with --url."
            ) from None
        except StoppedError as error:
            raise ManagementError(
                f"{load.url} lets nobody in ({error.reason}: {error}). Does it have the SECRET_KEY and the"
                " database of this project?"
            ) from None


def _check(options: dict[str, Any]) -> None:
    """Raise what is missing or makes no sense."""
    for app in ("djwsbridge.chat", "djwsbridge.log"):
        if not apps.is_installed(app):
            raise ManagementError(f"Put {app} into INSTALLED_APPS: the soak writes in its rooms.")
    if options["users"] < LEAST_USERS or options["rooms"] < 1:
        raise ManagementError("It needs at least two --users and one of --rooms.")
    if any(options[name] is not None and options[name] <= 0 for name in POSITIVE):
        raise ManagementError("--seconds, --rate and --settle must be more than 0.")
    most = settings.CONNECTIONS_PER_ADDRESS
    if most is not None and options["users"] > most:
        raise ManagementError(
            f"DJWSBRIDGE_CONNECTIONS_PER_ADDRESS lets {most} connections in from one machine: at most"
            f" {most} --users."
        )


def _socket_url(url: str) -> str:
    """Return the address of the socket of a site."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ManagementError(f"--url {url} is no address such as https://example.com.")
    is_site = parts.path.strip("/") == (django_settings.FORCE_SCRIPT_NAME or "").strip("/")
    path = socket_path() if is_site or not parts.path.strip("/") else parts.path
    return urlunsplit((SCHEMES[parts.scheme], parts.netloc, path, "", ""))
