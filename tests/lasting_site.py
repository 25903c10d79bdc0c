"""A site that many tests have, one after the other: `start_lasting_site` in tests/conftest.py serves it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg

from tests.servers import TIMEOUT, Site

__all__ = ["vacate"]

# What `migrate` has written; all other rows are of people and what they have made.
KEPT = {"django_migrations", "django_content_type", "auth_permission"}


def vacate(site: Site) -> Site:
    """Return a site with nobody on it.

    A database gives no key twice, so that what the running process still knows is of nobody who comes later. A test
    that ended while the site was down gets it started for the next.
    """
    if site.popen.poll() is not None:
        site.start()
    url = site.env["DATABASE_URL"]
    if url.startswith("sqlite:///"):
        _empty_sqlite(url.removeprefix("sqlite:///"))
    else:
        _empty_postgres(url)
    return site


def _empty_sqlite(path: str) -> None:
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    with closing(sqlite3.connect(path, timeout=TIMEOUT, isolation_level=None)) as database:
        names = {name for (name,) in database.execute(tables)} - KEPT
        database.execute("BEGIN IMMEDIATE")
        for name in sorted(names):
            database.execute(f'DELETE FROM "{name}"')
        database.execute("COMMIT")


def _empty_postgres(url: str) -> None:
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    with psycopg.connect(url) as database:
        names = {str(name) for (name,) in database.execute(tables)} - KEPT
        quoted = ", ".join(f'"{name}"' for name in sorted(names))
        database.execute(f"TRUNCATE {quoted}".encode())
