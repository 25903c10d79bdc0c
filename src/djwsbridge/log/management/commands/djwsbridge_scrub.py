"""Erase the content of events, from the log and where apps keep copies."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.core.management.base import CommandError as ManagementError

from djwsbridge.log.log import Log


class Command(BaseCommand):
    """`manage.py djwsbridge_scrub TOPIC SEQ [SEQ …]`."""

    help = (
        "Erase the payload of events, and the text of the chat's messages that they tell of. Their numbers stay, so "
        'that no reader sees a hole: who recovers gets the events with {"scrubbed": true} in place of their content.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a topic and seqs."""
        parser.add_argument("topic", help="such as room.42")
        parser.add_argument("seqs", nargs="+", type=int, metavar="seq")

    def handle(self, *args: Any, **options: Any) -> None:
        """Scrub, and say how many there were."""
        scrubbed = Log().scrub(options["topic"], options["seqs"])
        if not any(scrubbed):
            raise ManagementError("There are no such events.")
        self.stdout.write(
            f"{scrubbed.events} events of the log scrubbed, {scrubbed.copies} messages erased."
        )
