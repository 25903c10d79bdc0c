"""Where the chat's tables are: they are read where they are written.

A router may send reads to a replica, which is behind. From there somebody who was removed still has access, a room that
was just made is not found, and a page of messages ends before the number that it says is the last.
"""

from __future__ import annotations

from typing import TypeVar

from django.db import router
from django.db.models import Model, QuerySet

from djwsbridge.chat.models import Message

__all__ = ["rows_of", "using"]

Row = TypeVar("Row", bound=Model)


def using() -> str:
    """Return the alias of the database that holds the chat, and its log (see `checks`)."""
    return router.db_for_write(Message)


def rows_of(model: type[Row]) -> QuerySet[Row]:
    """Return all rows of one of the chat's models."""
    return QuerySet(model, using=using())
