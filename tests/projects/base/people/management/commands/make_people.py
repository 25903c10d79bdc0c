"""`manage.py make_people PASSWORD JSON...`: make a user of each object's fields, and print their keys."""

import json
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Make users."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("password")
        parser.add_argument("people", nargs="+", type=json.loads)

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model().objects
        made = [users.create_user(password=options["password"], **one) for one in options["people"]]
        keys = [user.pk if isinstance(user.pk, int) else str(user.pk) for user in made]
        self.stdout.write(json.dumps(keys))
