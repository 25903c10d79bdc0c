"""J21, for a night: a hundred thousand frames. `make test-fuzz`; not part of the ordinary tests, by its name.

FUZZ_FRAMES says how many frames the decoder gets; each server gets a tenth of them, and answers every one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import MAX_INTEGER, Command
from djwsbridge.protocol.plain import PlainDialect
from djwsbridge.protocol.server import Dialect
from djwsbridge.transport import registry
from tests.fuzz.grammar import frames_of, plain_frames
from tests.security.rig import PATH, Attacker, Target, make_site_env
from tests.servers import SERVERS, TIMEOUT, serve

FRAMES = int(os.environ.get("FUZZ_FRAMES", "100000"))
FRAME_BYTES = 65_536  # DJWSBRIDGE_FRAME_BYTES
HOURS = 3600.0  # seconds of `pytest-timeout`: it is a night's work

pytestmark = pytest.mark.timeout(HOURS)

COMMANDS: list[type[Command]] = sorted(registry._handlers, key=lambda one: one.__name__)
#: Limits that a fuzz run would hit are out of its way; those that end a connection stay.
UNLIMITED = {
    "DJWSBRIDGE_SEND_RATE": (10**9, 1.0),
    "DJWSBRIDGE_FRAME_RATE": (10**9, 1.0),
    "DJWSBRIDGE_RECOVERY_BYTES": (10**12, 1.0),
    "DJWSBRIDGE_HANDSHAKE_RATE": (10**9, 1.0),
    "DJWSBRIDGE_DIRECT_RATE": (10**9, 1.0),
}
MAKE_ROOMS = """
from django.contrib.auth.models import User
from djwsbridge.chat import services
for number in range(3):
    services.create_room(actor=User.objects.get(username="alice"), title=f"Room {number}")
"""

night = settings(
    max_examples=FRAMES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    database=None,  # every night another hundred thousand
    print_blob=True,
)


def assert_documented(error: CommandError, dialect: Dialect) -> None:
    written = json.loads(dialect.encode_error(error))
    assert isinstance(error.code, ErrorCode)
    # Plain: {"error": "<text>", "code": …}; v1: {"id": …, "error": {"code": …}}.
    assert error.code.value == (written["code"] if "code" in written else written["error"]["code"])


@night
@given(frames_of(COMMANDS))
def test_the_decoder_gives_a_command_or_a_documented_error(text: str) -> None:
    codec = registry.codec()
    try:
        command = codec.decode(text)
    except CommandError as error:
        assert_documented(error, codec)
    else:
        assert type(command) in COMMANDS


@night
@given(plain_frames())
def test_the_plain_decoder_gives_a_message_or_a_documented_error(text: str) -> None:
    dialect = PlainDialect()
    try:
        message = dialect.decode(text)
    except CommandError as error:
        assert_documented(error, dialect)
    else:
        json.dumps(message.frame, allow_nan=False).encode()


def assert_good_end(closed: ConnectionClosed, text: str) -> None:
    assert closed.rcvd is not None, f"the connection was cut after {text!r}"
    assert closed.rcvd.code in {1000, *CloseCode} - {1011, CloseCode.INTERNAL}, text


@pytest.fixture(scope="module", params=sorted(SERVERS))
def target(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    migrated_sqlite: Path,
    site_env: Mapping[str, str],
) -> Iterator[Target]:
    """Run the reference project without limits of pace."""
    directory = tmp_path_factory.mktemp("fuzz")
    database = Path(shutil.copy(migrated_sqlite, directory))
    env = make_site_env(site_env, database, **UNLIMITED)
    with serve(request.param, directory=directory, env=env) as site:
        target = Target.prepare(site, env, "alice", "bob", "carol")
        target.shell(MAKE_ROOMS)
        yield target
        assert "Traceback" not in site.log


class Victim:
    """A connection that is opened again whenever the server has ended it."""

    def __init__(self, target: Target, *, plain: bool) -> None:
        self._target = target
        self._plain = plain
        self._attacker = Attacker(target)
        self._socket: ClientConnection | None = None

    def feed(self, text: str) -> None:
        """Send one frame; the server goes on, or ends the connection with a code that is documented."""
        socket = self._socket = self._socket or self._open()
        try:
            socket.send(text)
            socket.send(self._question)
            while not self._is_answer(json.loads(socket.recv(TIMEOUT))):
                pass
        except ConnectionClosed as closed:
            self._socket = None
            assert_good_end(closed, text)

    def leave(self) -> None:
        """Close all sockets."""
        self._attacker.leave()

    def _open(self) -> ClientConnection:
        if self._plain:
            return self._attacker.open(PATH, token=self._target.token())
        return self._attacker.connect()

    @property
    def _question(self) -> str:
        if self._plain:
            return json.dumps({"message": "still there?", "recipient": self._target.id_of("bob")})
        return json.dumps({"id": MAX_INTEGER, "cmd": "heartbeat"})

    def _is_answer(self, frame: dict[str, Any]) -> bool:
        assert frame.get("code") != "internal", frame
        assert frame.get("error", {}) == {} or self._plain or frame["error"]["code"] != "internal"
        if self._plain:
            return frame.get("message") == "still there?"
        return frame.get("id") == MAX_INTEGER and "ok" in frame


@pytest.mark.parametrize("plain", [False, True], ids=["v1", "plain"])
def test_the_server_answers_every_frame(target: Target, *, plain: bool) -> None:
    victim = Victim(target, plain=plain)
    texts: st.SearchStrategy[str] = plain_frames() if plain else frames_of(COMMANDS)

    @settings(night, max_examples=max(1, FRAMES // 10))
    @given(texts)
    def feed(text: str) -> None:
        # Half a surrogate pair cannot be sent but as an escape: UTF-8 has none.
        sent = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
        assume(len(sent.encode()) < FRAME_BYTES)  # what is larger cuts the connection: F7
        victim.feed(sent)

    try:
        feed()
    finally:
        victim.leave()
