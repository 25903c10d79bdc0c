"""Seal what leaves for an engine that others can write to, and tell a genuine push from a forged one.

Redis has one password for all of its users, and often serves other programs beside ours. A seal shows that a process
with this site's `SECRET_KEY` has published a text, on this topic, as it is. It keeps nothing secret.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from djwsbridge.engine.base import Deliver, Engine, OnBack
from djwsbridge.protocol.errors import EngineUnavailable

__all__ = ["Seal", "SealedEngine"]

_CODE_LENGTH = 32  # hexadecimal digits: 128 bits
_BEFORE = ',"mac":"'
_AFTER = '"}'
# Characters from the end of a sealed text to the beginning of its code, and of its seal.
_CODE_END = _CODE_LENGTH + len(_AFTER)
_LENGTH = len(_BEFORE) + _CODE_END


class Seal:
    """Write and check message authentication codes (keyed BLAKE2b, RFC 7693).

    The code is the last field of the JSON object, so that a process of an earlier release reads the object as before.

    Args:
        secrets: the first one seals, each of them opens.
    """

    def __init__(self, secrets: Sequence[str | bytes]) -> None:
        # Hashes that have taken a key and nothing else: a copy is cheaper than to take the key again.
        self._hashes = [_keyed_hash(secret) for secret in secrets]

    def close(self, topic: str, text: str) -> str:
        """Return a JSON object with the code that seals it for a topic."""
        return f"{text[:-1]}{_BEFORE}{_code(self._hashes[0], topic, text)}{_AFTER}"

    def open(self, topic: str, sealed: str) -> tuple[str, bool]:
        """Return the text without its seal, and whether the seal is genuine."""
        if sealed[-_LENGTH:-_CODE_END] != _BEFORE or not sealed.endswith(_AFTER):
            return sealed, False
        text, code = sealed[:-_LENGTH] + "}", sealed[-_CODE_END:-2]
        for keyed in self._hashes:  # usually the first one
            try:
                if hmac.compare_digest(_code(keyed, topic, text), code):
                    return text, True
            except TypeError:  # the code has other characters than ASCII
                break
        return text, False


def _keyed_hash(secret: str | bytes) -> hashlib.blake2b:
    content = secret.encode() if isinstance(secret, str) else secret
    key = hashlib.blake2b(content, person=b"djwsbridge hint").digest()
    return hashlib.blake2b(key=key, digest_size=_CODE_LENGTH // 2)


def _code(keyed: hashlib.blake2b, topic: str, text: str) -> str:
    code = keyed.copy()
    # A topic holds no line break, so the two parts have one border.
    code.update(f"{topic}\n{text}".encode("utf-8", "surrogatepass"))
    return code.hexdigest()


class SealedEngine(Engine):
    """Carry pushes over another engine, sealed. Every push is a JSON object.

    Args:
        engine: carries them.
        seal: of this site.
    """

    def __init__(self, engine: Engine, seal: Seal) -> None:
        self.engine = engine
        self._seal = seal
        self.counts = engine.counts
        self.waits = engine.waits
        # Called with (topic, text) for what came without a genuine seal: it is forged, or a process of an earlier
        # release, or code that uses the channel layer directly, has published it. Set it before `start`.
        self.on_doubtful: Deliver = lambda _topic, _text: None

    async def start(self, deliver: Deliver, on_back: OnBack = lambda: None) -> None:
        def receive(topic: str, text: str) -> None:
            opened, is_genuine = self._seal.open(topic, text)
            if is_genuine:
                deliver(topic, opened)
            else:
                self.on_doubtful(topic, opened)

        await self.engine.start(receive, on_back)

    async def stop(self) -> None:
        await self.engine.stop()

    async def subscribe(self, topic: str) -> None:
        await self.engine.subscribe(topic)

    async def unsubscribe(self, topic: str) -> None:
        await self.engine.unsubscribe(topic)

    async def count(self, key: str, *, seconds: float) -> int | None:
        return await self.engine.count(key, seconds=seconds)

    async def publish(self, topic: str, text: str) -> None:
        await self.engine.publish(topic, self._seal.close(topic, text))

    async def publish_all(
        self, pushes: Sequence[tuple[str, str]]
    ) -> Sequence[EngineUnavailable | None]:
        sealed = [(topic, self._seal.close(topic, text)) for topic, text in pushes]
        return await self.engine.publish_all(sealed)
