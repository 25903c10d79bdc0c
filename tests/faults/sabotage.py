"""Builds that break a promise on purpose, to see that the judge notices. Chosen by the variable FAULTS_SABOTAGE."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Mapping
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


def membership_before_the_lock() -> None:
    """Let only the look before the lock of a room decide who may write there.

    To be kept in step with `chat.store.messages.add_messages`. What decides under the lock is the `permit` that it
    gives to `insert_rows`. This takes the permit away, and leaves the look before the lock (`store.find_writers`).
    Where there is no permit, the build was without the second look anyway.
    """
    from djwsbridge.chat.store import messages  # noqa: PLC0415

    original = messages.insert_rows

    def insert_rows(*arguments: Any, permit: object = None, **fields: Any) -> Any:
        return original(*arguments, **fields)

    messages.insert_rows = insert_rows


def sequencer_without_epoch() -> None:
    """Let a node know of every topic a number and nothing else: no epoch, no text, and no way back.

    To be kept in step with `Sequencer` and `Reconciler`: whatever compares a push or the log with what was released is
    made blind here. What does not exist in a build needs not be blinded.
    """
    from djwsbridge.reconciler import Reconciler  # noqa: PLC0415
    from djwsbridge.sequencer import Sequencer  # noqa: PLC0415

    def differing(self: Any, tips: Mapping[str, Any]) -> set[str]:
        known = ((topic, self._tracks.get(topic), tip.seq) for topic, tip in tips.items())
        return {topic for topic, track, seq in known if track and track.delivered < seq}

    start = Sequencer.start

    def start_in_any_epoch(self: Any, topic: str, tip: Any) -> Any:
        track = self._tracks.get(topic)
        if hasattr(track, "epoch"):
            track.epoch = tip.epoch
        return start(self, topic, tip)

    async def settle(self: Any, topic: str, **_: object) -> Any:
        return await original(self, topic, is_known=False)

    Sequencer.start = start_in_any_epoch  # type: ignore[method-assign]
    blind: Mapping[Any, Mapping[str, Any]] = {
        Sequencer: {"_compare": lambda *_: None, "differing": differing},
        Reconciler: {"_is_rewound": lambda *_: False, "_settle": settle},
    }
    original = getattr(Reconciler, "_settle", None)
    for owner, functions in blind.items():
        for name, function in functions.items():
            if hasattr(owner, name):
                setattr(owner, name, function)


SABOTAGES: dict[str, Callable[[], None]] = {
    "reply_before_commit": reply_before_commit,
    "no_unique_constraint": no_unique_constraint,
    "no_loss_of_access": no_loss_of_access,
    "membership_before_the_lock": membership_before_the_lock,
    "sequencer_without_epoch": sequencer_without_epoch,
}
#: What has to be done to the database for a sabotage.
PREPARATIONS: dict[str, Callable[[], None]] = {"no_unique_constraint": drop_unique_constraint}
