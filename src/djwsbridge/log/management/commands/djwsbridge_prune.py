"""Delete old events from the log."""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.core.management.base import CommandError as ManagementError

from djwsbridge.conf import settings
from djwsbridge.log.log import Log


class Command(BaseCommand):
    """`manage.py djwsbridge_prune [--days N]`."""

    help = (
        "Delete the events of the log that are older than DJWSBRIDGE_LOG_DAYS. Messages stay. A server does "
        "this once an hour by itself; clients that were away for longer load a snapshot instead."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take `--days`."""
        parser.add_argument("--days", type=float, default=None, help="keep this many days")

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete, and say how many there were."""
        days = settings.LOG_DAYS if options["days"] is None else options["days"]
        if days < 0:
            raise ManagementError("--days cannot be negative.")
        deleted = Log().prune(dt.timedelta(days=days))
        self.stdout.write(f"{deleted} events older than {days:g} days deleted.")
