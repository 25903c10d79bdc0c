"""The server's side of one connection: what may come when. Time is an argument, so nothing here waits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from djwsbridge.protocol.codec import Codec
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError
from djwsbridge.protocol.frames import Connect, Heartbeat, SendToUser, Subscribe
from djwsbridge.protocol.plain import PlainDialect
from djwsbridge.protocol.server import Limits, RateLimit, ServerProtocol, State, WindowCounter

CODEC = Codec([Connect, Heartbeat, SendToUser, Subscribe])
CONNECT = '{"id":1,"cmd":"connect"}'
HEARTBEAT = '{"id":2,"cmd":"heartbeat"}'
LIMITS = Limits()


def connecting(limits: Limits = LIMITS) -> ServerProtocol:
    return ServerProtocol(CODEC, limits, now=0.0)


def opened(limits: Limits = LIMITS) -> ServerProtocol:
    protocol = connecting(limits)
    protocol.move(State.OPEN)
    return protocol


def plain(limits: Limits = LIMITS) -> ServerProtocol:
    protocol = ServerProtocol(PlainDialect(), limits, now=0.0)
    protocol.move(State.OPEN)
    return protocol


def assert_failed(
    protocol: ServerProtocol, text: str, code: ErrorCode, *, now: float = 1.0
) -> CommandError:
    with pytest.raises(CommandError) as caught:
        protocol.receive_text(text, now=now)
    assert caught.value.code is code
    return caught.value


def assert_closed(
    protocol: ServerProtocol, text: str, close_code: CloseCode, code: ErrorCode, *, now: float = 1.0
) -> None:
    with pytest.raises(CloseConnection) as caught:
        protocol.receive_text(text, now=now)
    assert (caught.value.close_code, caught.value.error.code) == (close_code, code)


# -- what may come when ----------------------------------------------------------------------------------------------


def test_a_connection_begins_with_connect() -> None:
    assert connecting().receive_text(CONNECT, now=1.0) == Connect(id=1)


@pytest.mark.parametrize("text", [HEARTBEAT, '{"id":1,"cmd":"nope"}'])
def test_h11_anything_else_before_connect_ends_it(text: str) -> None:
    assert_closed(connecting(), text, CloseCode.UNAUTHORIZED, ErrorCode.AUTH_REQUIRED)


def test_a_plain_frame_before_the_actor_is_known_ends_it() -> None:
    protocol = ServerProtocol(PlainDialect(), LIMITS, now=0.0)
    assert_closed(protocol, "{}", CloseCode.UNAUTHORIZED, ErrorCode.AUTH_REQUIRED)


def test_h12_a_second_connect_is_refused_and_the_connection_lives() -> None:
    protocol = opened()
    assert assert_failed(protocol, CONNECT, ErrorCode.ALREADY_AUTHENTICATED).command_id == 1
    assert protocol.receive_text(HEARTBEAT, now=1.0) == Heartbeat(id=2)


@pytest.mark.parametrize("make", [connecting, opened, plain])
def test_f10_a_binary_frame_ends_it(make: type[ServerProtocol]) -> None:
    reason = make().receive_bytes(now=1.0)
    assert (reason.close_code, reason.error.code) == (
        CloseCode.UNSUPPORTED_DATA,
        ErrorCode.UNSUPPORTED_BINARY,
    )


@pytest.mark.parametrize(
    "text", ["x" * 65_537, "\u00e9" * 32_769, "\U0001f600" * 16_385, "\ud800" * 21_846]
)
def test_f7_a_frame_over_the_limit_ends_it(text: str) -> None:
    assert_closed(opened(), text, CloseCode.TOO_BIG, ErrorCode.TOO_LARGE)


@pytest.mark.parametrize("text", ["x" * 65_536, "\u00e9" * 32_768, "\U0001f600" * 16_384])
def test_a_frame_of_exactly_the_limit_is_read(text: str) -> None:
    assert_failed(opened(), text, ErrorCode.BAD_JSON)


def test_a_bad_command_says_which_and_the_connection_lives() -> None:
    protocol = opened()
    error = assert_failed(protocol, '{"id":7,"cmd":"subscribe"}', ErrorCode.BAD_FIELD)
    assert error.command_id == 7
    assert protocol.receive_text(HEARTBEAT, now=1.0)


# -- states ----------------------------------------------------------------------------------------------------------


def test_the_states_of_a_life() -> None:
    protocol = connecting()
    for state in (State.OPEN, State.CLOSED, State.CLOSED):
        protocol.move(state)
        assert protocol.state is state


def test_a_connection_can_end_before_it_is_open() -> None:
    connecting().move(State.CLOSED)


@pytest.mark.parametrize(
    ("path", "forbidden"),
    [
        ([], State.CONNECTING),
        ([State.OPEN], State.OPEN),
        ([State.OPEN], State.CONNECTING),
        ([State.CLOSED], State.OPEN),
        ([State.CLOSED], State.CONNECTING),
    ],
)
def test_a_forbidden_transition_raises(path: list[State], forbidden: State) -> None:
    protocol = connecting()
    for state in path:
        protocol.move(state)
    with pytest.raises(RuntimeError, match="cannot go from"):
        protocol.move(forbidden)


# -- how fast --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [opened, plain])
def test_x1_the_121st_frame_in_a_minute_is_refused_and_the_connection_lives(
    make: type[ServerProtocol],
) -> None:
    protocol = make()
    text = HEARTBEAT if make is opened else "{}"
    for number in range(120):
        protocol.receive_text(text, now=number / 10)
    error = assert_failed(protocol, text, ErrorCode.RATE_LIMITED, now=12.0)
    assert error.details == {"retry_after_ms": 48_001}
    assert error.retryable
    assert protocol.receive_text(text, now=60.0)


def test_a_refused_frame_is_named_so_that_its_sender_can_try_again() -> None:
    protocol = opened(Limits(frames=RateLimit(1, 60.0)))
    protocol.receive_text(HEARTBEAT, now=1.0)
    assert assert_failed(protocol, HEARTBEAT, ErrorCode.RATE_LIMITED).command_id == 2
    bad_field = '{"id":7,"cmd":"subscribe"}'
    assert assert_failed(protocol, bad_field, ErrorCode.RATE_LIMITED).command_id == 7
    assert assert_failed(protocol, "{", ErrorCode.RATE_LIMITED).command_id is None


def test_a_refused_plain_frame_has_no_id() -> None:
    protocol = plain(Limits(frames=RateLimit(1, 60.0)))
    protocol.receive_text("{}", now=1.0)
    assert assert_failed(protocol, "{}", ErrorCode.RATE_LIMITED).command_id is None


def test_the_third_breach_ends_it() -> None:
    protocol = opened()
    for minute in range(3):
        for _ in range(120):
            protocol.receive_text(HEARTBEAT, now=minute * 60.0)
        if minute < 2:
            assert_failed(protocol, HEARTBEAT, ErrorCode.RATE_LIMITED, now=minute * 60.0)
    assert_closed(protocol, HEARTBEAT, CloseCode.RATE_LIMITED, ErrorCode.RATE_LIMITED, now=2 * 60.0)


def test_what_was_already_on_its_way_belongs_to_one_breach() -> None:
    protocol = opened()
    for _ in range(120):
        protocol.receive_text(HEARTBEAT, now=1.0)
    for _ in range(LIMITS.rejected):
        assert_failed(protocol, HEARTBEAT, ErrorCode.RATE_LIMITED)


def test_f8_one_who_does_not_listen_is_closed() -> None:
    protocol = opened()
    for _ in range(120):
        protocol.receive_text(HEARTBEAT, now=1.0)
    for _ in range(LIMITS.rejected):
        assert_failed(protocol, HEARTBEAT, ErrorCode.RATE_LIMITED)
    assert_closed(protocol, HEARTBEAT, CloseCode.RATE_LIMITED, ErrorCode.RATE_LIMITED)


def test_breaches_are_forgotten() -> None:
    protocol = opened()
    for breach in range(10):
        begin = breach * 400.0  # two in ten minutes
        for _ in range(120):
            protocol.receive_text(HEARTBEAT, now=begin)
        assert_failed(protocol, HEARTBEAT, ErrorCode.RATE_LIMITED, now=begin)


def test_limits_of_others_count_as_the_same_breaches() -> None:
    protocol = opened()
    for number in range(2):
        assert isinstance(protocol.breach(5.0, now=number * 10.0), CommandError)
    reason = protocol.breach(5.0, now=20.0)
    assert isinstance(reason, CloseConnection)
    assert reason.close_code is CloseCode.RATE_LIMITED


@pytest.mark.parametrize("make", [connecting, opened, plain])
@pytest.mark.parametrize(("text", "code"), [("{", ErrorCode.BAD_JSON), ("[]", ErrorCode.BAD_FRAME)])
def test_j1_the_tenth_bad_frame_in_a_minute_ends_it(
    make: type[ServerProtocol], text: str, code: ErrorCode
) -> None:
    protocol = make()
    for number in range(9):
        assert_failed(protocol, text, code, now=float(number))
    assert_closed(protocol, text, CloseCode.BAD_PROTOCOL, code, now=59.0)


def test_bad_frames_are_forgotten_after_a_minute() -> None:
    protocol = opened()
    for number in range(50):
        assert_failed(protocol, "{", ErrorCode.BAD_JSON, now=number * 7.0)


def test_frames_with_wrong_fields_are_not_bad_frames() -> None:
    protocol = opened()
    for _ in range(50):
        assert_failed(protocol, '{"id":7,"cmd":"subscribe"}', ErrorCode.BAD_FIELD)


# -- silence ---------------------------------------------------------------------------------------------------------


def test_h10_no_connect_in_time() -> None:
    protocol = connecting()
    assert protocol.check(now=4.9) is None
    reason = protocol.check(now=5.0)
    assert reason is not None
    assert (reason.close_code, reason.error.code) == (
        CloseCode.CONNECT_TIMEOUT,
        ErrorCode.AUTH_REQUIRED,
    )


def test_bad_frames_do_not_keep_a_connection_without_connect() -> None:
    protocol = connecting()
    assert_failed(protocol, "{", ErrorCode.BAD_JSON, now=4.9)
    assert protocol.check(now=5.0) is not None


def test_a_minute_of_silence() -> None:
    protocol = opened()
    protocol.receive_text(HEARTBEAT, now=10.0)
    assert protocol.check(now=69.9) is None
    reason = protocol.check(now=70.0)
    assert reason is not None
    assert reason.close_code is CloseCode.HEARTBEAT_LOST


def test_every_frame_is_a_sign_of_life() -> None:
    protocol = opened()
    assert_failed(protocol, "{", ErrorCode.BAD_JSON, now=30.0)
    assert protocol.check(now=89.0) is None
    protocol.receive_bytes(now=89.0)
    assert protocol.check(now=148.0) is None


def test_the_seeds_clients_may_be_silent() -> None:
    assert plain().check(now=10_000.0) is None


def test_a_closed_connection_is_left_alone() -> None:
    protocol = opened()
    protocol.move(State.CLOSED)
    assert protocol.check(now=10_000.0) is None


# -- the counter -----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 5, allow_nan=False), max_size=60), st.integers(1, 5))
def test_a_window_never_holds_more_than_its_count(pauses: list[float], count: int) -> None:
    counter, now, taken = WindowCounter(RateLimit(count, 10.0)), 0.0, []
    for pause in pauses:
        now += pause
        wait = counter.add(now)
        recent = [time for time in taken if time + 10.0 > now]
        assert (wait == 0.0) == (len(recent) < count)
        if not wait:
            taken.append(now)
        else:
            assert now + wait == pytest.approx(recent[0] + 10.0)


# -- any text, in any state ------------------------------------------------------------------------------------------


@given(
    st.lists(st.text(st.characters(codec=None)) | st.sampled_from([CONNECT, HEARTBEAT, "{", "[]"])),
    st.sampled_from([connecting, opened, plain]),
)
@settings(max_examples=200)
def test_any_texts_give_commands_errors_or_an_end(
    texts: list[str], make: type[ServerProtocol]
) -> None:
    protocol = make()
    for number, text in enumerate(texts):
        try:
            protocol.receive_text(text, now=float(number))
        except CommandError as error:
            json.loads(protocol.dialect.encode_error(error))
        except CloseConnection as reason:
            json.loads(protocol.dialect.encode_farewell(reason.error))
            break
