"""The credential of one connection: when it ends, and when to look at it again."""

from __future__ import annotations

import dataclasses
import logging
import math
import random

from djwsbridge.accounts import name_of
from djwsbridge.conf import settings
from djwsbridge.people import FRESH
from djwsbridge.presence import Person
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError
from djwsbridge.protocol.topics import wire_id
from djwsbridge.runtime import Runtime
from djwsbridge.transport.auth.identity import Identity, refusal
from djwsbridge.transport.auth.revocation import find_valid_users
from djwsbridge.transport.failures import DATABASE_DOWN
from djwsbridge.transport.together import Together

__all__ = ["CredentialWatch"]

logger = logging.getLogger("djwsbridge.connection")

SAME_END = 1.0  # seconds by which two looks at the end of one token may differ
# Fifty thousand connections are a thousand looks a second.
_look = Together(find_valid_users)


class CredentialWatch:
    """What is known of the actor, and until when it may be believed. Times are the loop's seconds."""

    __slots__ = ("_ends", "_next_look", "_warned", "identity")

    def __init__(self) -> None:
        # None until the actor is known.
        self.identity: Identity | None = None
        # None when the credential has no end.
        self._ends: float | None = None
        # Whether the client was told that the end is near.
        self._warned = False
        self._next_look = 0.0

    @property
    def person(self) -> Person | None:
        """Return the actor as others see them; None until the actor is known."""
        if self.identity is None:
            return None
        user = self.identity.user
        return Person(wire_id(user.pk), name_of(user))

    def accept(self, identity: Identity, *, now: float) -> None:
        """Go on with this credential."""
        before, self.identity = self._ends, identity
        self._ends = None if identity.expires_in is None else now + identity.expires_in
        # A client that gives the same token again has no newer one: to warn it again would only make it ask again.
        is_later = before is None or self._ends is None or self._ends > before + SAME_END
        self._warned = self._warned and not is_later
        self._plan_next_look(now - FRESH)  # the user may have been looked up so long ago

    def forget(self) -> None:
        """Go back to an unknown actor."""
        self.identity = None

    def check(self, *, now: float) -> CloseConnection | None:
        """Return the reason to close a connection whose credential has ended."""
        if self.identity is None or self._ends is None or self._ends - now > -settings.TOKEN_LEEWAY:
            return None
        return refusal(ErrorCode.TOKEN_EXPIRED, CloseCode.TOKEN_EXPIRED)

    def take_warning(self, *, now: float) -> float | None:
        """Return the seconds that are left when it is time to say so, once; else None."""
        if self.identity is None or self._ends is None or self._warned:
            return None
        left = self._ends - now
        if left > settings.TOKEN_WARNING:
            return None
        self._warned = True
        return max(0.0, left)

    def take_look(self, *, now: float) -> bool:
        """Say whether it is time to `revalidate`, and plan the next time."""
        if self.identity is None or now < self._next_look:
            return False
        self._plan_next_look(now)
        return True

    def quiet_for(self, *, now: float) -> float:
        """Return the seconds in which none of the above has anything to say."""
        if self.identity is None:
            return math.inf
        quiet = self._next_look - now
        if self._ends is not None:
            event = self._ends + (
                settings.TOKEN_LEEWAY if self._warned else -settings.TOKEN_WARNING
            )
            quiet = min(quiet, event - now)
        return max(0.0, quiet)

    async def revalidate(
        self, node: Runtime, *, ended_session: str | None
    ) -> CloseConnection | None:
        """Look at the credential again and return the reason to close if it is not good any more.

        A user who has changed, such as by another name, is known as they are now.

        Args:
            node: of the connection; those who look at the same time share a query.
            ended_session: digest of a session that has just ended; None to look at everything.
        """
        identity = self.identity
        if identity is None:
            return None
        if ended_session is not None:
            if ended_session == identity.session:
                return refusal(ErrorCode.REVOKED, CloseCode.REVOKED)
            return None
        try:
            user = await _look.ask(node, identity)
        except (*DATABASE_DOWN, CommandError) as error:
            logger.warning("The credentials of a connection could not be checked: %r", error)
            return None
        if user is None:
            return refusal(ErrorCode.REVOKED, CloseCode.REVOKED)
        if self.identity is identity:
            fingerprint = user.get_session_auth_hash()  # another one when a login has hashed anew
            self.identity = dataclasses.replace(identity, user=user, fingerprint=fingerprint)
        elif self.identity is not None:  # a newer one by now, but of the same user
            self.identity = dataclasses.replace(self.identity, user=user)
        return None

    async def confirm(self, node: Runtime, *, since: float) -> None:
        """Look at the credential again if the user may have changed meanwhile: nobody could tell this connection.

        Args:
            node: of the connection.
            since: when the connection was opened; its user had been looked up by then, a moment ago at most.

        Raises:
            CloseConnection: it is not good any more.
        """
        if self.identity is None:
            return
        if node.people.has_changed(str(self.identity.user.pk), since=since - FRESH):
            reason = await self.revalidate(node, ended_session=None)
            if reason is not None:
                raise reason

    def _plan_next_look(self, now: float) -> None:
        # Spread, so that connections which came together do not ask the database together.
        self._next_look = now + settings.REVALIDATE_INTERVAL * random.uniform(0.75, 1.0)  # noqa: S311
