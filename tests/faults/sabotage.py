"""Builds that break a promise on purpose, to see that the judge notices. Chosen by the variable FAULTS_SABOTAGE."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from typing import Any

from django.apps import AppConfig
from django.db import connection, transaction

__all__ = ["PREPARATIONS", "SABOTAGES", "SabotageConfig"]


class SabotageConfig(AppConfig):
    """Break the workers' code."""

    name = "tests.faults.sabotage"
    label = "sabotage"

    def ready(self) -> None:
        """Carry out what the environment names."""
        SABOTAGES[os.environ["FAULTS_SABOTAGE"]]()


def reply_before_commit() -> None:
    """Acknowledge messages whose transaction then fails, one in fifty."""
    from djwsbridge.chat.services import messages  # noqa: PLC0415

    original = messages._send_together

    def send_together(*arguments: Any, **fields: Any) -> Any:
        with transaction.atomic():
            results = original(*arguments, **fields)
            if random.random() < 0.02:
                transaction.set_rollback(True)
        return results

    messages._send_together = send_together


def no_unique_constraint() -> None:
    """Store every retry anew."""
    from djwsbridge.chat import store  # noqa: PLC0415

    def find_sent(keys: Iterable[Any]) -> dict[Any, Any]:
        return {}

    store.find_sent = find_sent


def drop_unique_constraint() -> None:
    """Take the constraint off the table, before the workers start."""
    from djwsbridge.chat.models import Message  # noqa: PLC0415

    once = next(one for one in Message._meta.constraints if one.name == "djwsbridge_message_once")
    # SQLite makes the table anew, as the model describes it.
    Message._meta.constraints = [one for one in Message._meta.constraints if one is not once]
    with connection.schema_editor() as editor:
        editor.remove_constraint(Message, once)


def no_loss_of_access() -> None:
    """Let those who have left a room listen on, and recover."""
    from djwsbridge.chat.services import rooms  # noqa: PLC0415

    def unsubscribe_user(user_id: object, topic: str) -> None:
        return

    rooms.unsubscribe_user = unsubscribe_user


SABOTAGES: dict[str, Callable[[], None]] = {
    "reply_before_commit": reply_before_commit,
    "no_unique_constraint": no_unique_constraint,
    "no_loss_of_access": no_loss_of_access,
}
#: What has to be done to the database for a sabotage.
PREPARATIONS: dict[str, Callable[[], None]] = {"no_unique_constraint": drop_unique_constraint}
