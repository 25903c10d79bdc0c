"""The two tables of the log."""

from __future__ import annotations

import uuid

from django.db import models

__all__ = ["Event", "Topic", "new_epoch"]


def new_epoch() -> str:
    """Return the identity of a new life of a topic's log."""
    return uuid.uuid4().hex[:16]


class Topic(models.Model):
    """The counter of one topic: a narrow row, locked by whoever appends."""

    name = models.CharField(max_length=80, unique=True)
    # The number of the newest event; grows inside the transaction that makes the event.
    seq = models.PositiveBigIntegerField(default=0)
    # Changes when the history was replaced: a cursor of another epoch means nothing.
    epoch = models.CharField(max_length=16, default=new_epoch)

    def __str__(self) -> str:
        return f"{self.name}@{self.seq}"


class Event(models.Model):
    """One durable event: the push as it goes over the wire."""

    # No index of its own: the constraint's begins with it.
    topic = models.ForeignKey(
        Topic, on_delete=models.CASCADE, related_name="events", db_index=False
    )
    seq = models.PositiveBigIntegerField()
    type = models.CharField(max_length=100)
    # The whole frame, JSON text.
    payload = models.TextField()
    # The database's clock; for retention only, it orders nothing.
    created = models.DateTimeField(db_index=True)

    class Meta:
        """`(topic, seq)` is the log's order, and the index of every recovery."""

        constraints = (
            models.UniqueConstraint(fields=("topic", "seq"), name="djwsbridge_event_seq"),
        )

    def __str__(self) -> str:
        return f"{self.topic_id}.{self.seq} {self.type}"
