"""Names of new users."""

from __future__ import annotations

from djwsbridge.chat import names, store
from djwsbridge.conf import settings
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

__all__ = ["check_username"]

BATCH = 1_000  # names whose skeletons are stored at a time


def check_username(*, name: str) -> None:
    """Refuse a new user's name that looks like an existing one, unless the settings allow it.

    Users come into being in many ways, so skeletons that are missing are stored first.

    Raises:
        CommandError: `bad_name`.
    """
    if not settings.REFUSE_LOOKALIKE_NAMES:
        return
    while rows := store.names_without_skeleton(limit=BATCH):
        store.save_skeletons((key, text, names.skeleton(known)) for key, text, known in rows)
    if store.skeleton_exists(names.skeleton(name)):
        raise CommandError(ErrorCode.BAD_NAME, "This name looks like that of another person.")
