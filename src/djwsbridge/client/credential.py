"""Where the client gets its credential from, before each attempt."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Credential", "HeaderSource", "TextSource"]

#: A ticket or token: as it is, or a function that gets one, called before each attempt.
TextSource = str | Callable[[], str | Awaitable[str]]
#: Headers of the handshake, such as `Authorization`, or `Cookie` and `Origin`; likewise.
HeaderSource = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]


class Credential:
    """One of token, ticket and headers, or none for a server that asks for nothing.

    Raises:
        ValueError: there is more than one.
    """

    def __init__(
        self,
        *,
        token: TextSource | None = None,
        ticket: TextSource | None = None,
        headers: HeaderSource | None = None,
    ) -> None:
        if token is not None and ticket is not None:
            raise ValueError("Give a token or a ticket, not both.")
        self._fields: dict[str, TextSource] = {}
        if token is not None:
            self._fields["token"] = token
        if ticket is not None:
            self._fields["ticket"] = ticket
        self._headers = headers

    @property
    def is_renewable(self) -> bool:
        """Say whether asking again can bring another one."""
        return any(callable(source) for source in (*self._fields.values(), self._headers))

    async def fields(self) -> dict[str, str]:
        """Return what goes with `connect`."""
        return {name: await _get_text(source) for name, source in self._fields.items()}

    async def headers(self) -> Mapping[str, str]:
        """Return what goes with the handshake."""
        if self._headers is None:
            return {}
        if not callable(self._headers):
            return self._headers
        found = self._headers()
        return await found if inspect.isawaitable(found) else found

    async def renew_token(self) -> str | None:
        """Return a newer token; None when there is no way to one."""
        source = self._fields.get("token")
        return await _get_text(source) if callable(source) else None


async def _get_text(source: TextSource) -> str:
    found = source() if callable(source) else source
    return found if isinstance(found, str) else await found
