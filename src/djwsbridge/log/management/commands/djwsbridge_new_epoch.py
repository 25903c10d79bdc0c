"""Begin a new life of the log after the database was rewound."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.core.management.base import CommandError as ManagementError

from djwsbridge.log import store


class Command(BaseCommand):
    """`manage.py djwsbridge_new_epoch [topic …] [--all]`."""

    help = (
        "Give topics a new epoch. Run it with --all after restoring a backup or promoting a replica that was "
        "behind, before clients connect: their cursors then mean nothing, and they load what there is now."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take topics, or `--all`."""
        parser.add_argument("topics", nargs="*", help="such as room.42")
        parser.add_argument("--all", action="store_true", help="every topic")

    def handle(self, *args: Any, **options: Any) -> None:
        """Renew, and say how many there were."""
        if bool(options["topics"]) == options["all"]:
            raise ManagementError("Name topics, or say --all.")
        changed = store.renew_epoch(None if options["all"] else options["topics"])
        self.stdout.write(f"{changed} topics have a new epoch.")
