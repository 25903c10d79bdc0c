"""`manage.py push USER JSON`: push from a process that serves nobody."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from djwsbridge.utils import send_ws_message


class Command(BaseCommand):
    help = "Push to a user."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user")
        parser.add_argument("data", type=json.loads)
        parser.add_argument("--durable", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        send_ws_message(options["user"], options["data"], durable=options["durable"])
