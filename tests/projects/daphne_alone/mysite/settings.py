"""The README's site as it stands: Daphne, SQLite, one process, no Redis."""

from mysite.base import *
