"""The transaction of a service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from djwsbridge.chat import store
from djwsbridge.transactions import transaction_in

__all__ = ["one_transaction"]


@contextmanager
def one_transaction() -> Iterator[None]:
    """Let what is done happen as a whole or not at all; as a decorator, each call.

    Not `transaction.atomic` without an alias: that is about `default`. Where the chat's tables are elsewhere, an event
    would be committed and pushed before what it tells of has failed.
    """
    with transaction_in(store.using()):
        yield
