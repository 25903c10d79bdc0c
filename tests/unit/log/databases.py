"""A second database beside the one that tests run on, and routers that lead to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.apps import apps
from django.db import connections
from django.db.models import Model
from django.db.utils import load_backend

SQLITE = "django.db.backends.sqlite3"
OURS = frozenset({"djwsbridge_log", "djwsbridge_chat"})


@contextmanager
def second_database(alias: str, path: Path, *, tables: tuple[str, ...] = ()) -> Iterator[None]:
    """Let there be an SQLite file under an alias, with the tables of these apps; use it with the other one set up."""
    options = {"transaction_mode": "IMMEDIATE"}
    own = {"ENGINE": SQLITE, "NAME": str(path), "OPTIONS": options}
    described = connections.configure_settings({"default": {}, alias: own})
    connection = load_backend(SQLITE).DatabaseWrapper(described[alias], alias)
    connection.connect()  # before the alias is known: Django's test cases forbid one that they were not told of
    connections.settings[alias] = described[alias]
    connections[alias] = connection
    try:
        with connection.schema_editor() as editor:
            for label in tables:
                for model in apps.get_app_config(label).get_models():
                    editor.create_model(model)
        yield
    finally:
        connection.close()
        del connections[alias]
        del connections.settings[alias]


class Elsewhere:
    """Everything of some apps is in another database."""

    def __init__(self, alias: str, labels: frozenset[str]) -> None:
        self._alias = alias
        self._labels = labels

    def db_for_read(self, model: type[Model], **hints: object) -> str | None:
        """Return the alias, or None for the default one."""
        return self._alias if model._meta.app_label in self._labels else None

    db_for_write = db_for_read


class Replica:
    """What is read comes from another database, as from a replica that lags behind."""

    def db_for_read(self, model: type[Model], **hints: object) -> str | None:
        """Return the alias of the replica."""
        return "replica" if model._meta.app_label in OURS else None

    def db_for_write(self, model: type[Model], **hints: object) -> str:
        """Return the alias of the primary."""
        return "default"

    def allow_relation(self, one: Model, other: Model, **hints: object) -> bool:
        """Allow all: both hold the same."""
        return True
