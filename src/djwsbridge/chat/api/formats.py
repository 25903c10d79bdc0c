"""How the API reads and writes: JSON, bounded and strict on the way in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import msgspec
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from djwsbridge.conf import settings
from djwsbridge.protocol.codec import load_object
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

__all__ = ["StrictJSONParser", "StructRenderer"]


class StrictJSONParser(BaseParser):
    """Read a JSON object by the rules of the wire protocol, no larger than a frame."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the object.

        Raises:
            CommandError: with the code of what is wrong with it.
        """
        body = stream.read(settings.FRAME_BYTES + 1)
        if len(body) > settings.FRAME_BYTES:
            raise CommandError(ErrorCode.TOO_LARGE)
        try:
            return load_object(body.decode())
        except UnicodeDecodeError:
            raise CommandError(ErrorCode.BAD_TEXT) from None


class StructRenderer(BaseRenderer):
    """Write values as they go over the wire."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: object,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the JSON of a value."""
        return msgspec.json.encode(data)
