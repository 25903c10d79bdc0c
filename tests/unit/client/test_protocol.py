"""What the vectors leave open: odd answers, bounds, and what only this client has."""

from __future__ import annotations

from typing import Any

import pytest

from djwsbridge.client.actions import State, StateChange
from djwsbridge.client.errors import BadFrameError, ConnectionLostError, OutboxFullError
from djwsbridge.client.frames import decode_frame
from djwsbridge.client.outbox import Draft, Outbox
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from tests.unit.client.script import Driver

LOGGED = {"room.42": {"epoch": "e1", "seq": 5, "recovered": False}}
ACK = {"cmd": "ack", "seqs": {"room.42": 6}}


def push(seq: int) -> dict[str, Any]:
    return {"push": {"push": "a", "topic": "room.42", "seq": seq, "data": {}}}


def error(code: str, *, retryable: bool, **details: Any) -> dict[str, Any]:
    return {"code": code, "message": code, "retryable": retryable, **details}


def test_starting_twice_is_starting_once_and_so_is_stopping() -> None:
    driver = Driver().go_online()
    driver.expect({"do": "start", "expect": {}})
    driver.give({"do": "stop"})
    driver.expect({"do": "stop", "expect": {}})


def test_stopping_while_waiting_closes_no_socket() -> None:
    driver = Driver().go_online()
    driver.give({"socket": "close"})
    driver.expect({"do": "stop", "expect": {"states": [{"state": "stopped"}]}})


def test_a_transition_that_makes_no_sense_is_refused() -> None:
    driver = Driver()
    with pytest.raises(RuntimeError, match="cannot go from"):
        driver.core._connection._enter(StateChange(State.ONLINE))


@pytest.mark.parametrize("text", [b"{}", "[]", "", '{"push":5}', '{"id":1}', '{"id":"x","ok":{}}'])
def test_what_is_no_frame_is_no_frame(text: str | bytes) -> None:
    with pytest.raises(BadFrameError):
        decode_frame(text)


def test_an_unreadable_answer_to_connect_is_followed_by_another_attempt() -> None:
    driver = Driver()
    driver.give({"do": "start"})
    driver.give({"socket": "open"})
    waiting = {"sockets": ["close"], "states": [{"state": "waiting", "delay_ms": 250}]}
    driver.expect({"reply": "connect", "ok": {"topics": 5}, "expect": waiting})


def test_a_final_error_of_connect_waits_for_the_close_code() -> None:
    driver = Driver()
    driver.give({"do": "start"})
    driver.give({"socket": "open"})
    refusal = error("token_invalid", retryable=False)
    driver.expect({"reply": "connect", "error": refusal, "expect": {}})
    stopped = {"states": [{"state": "stopped", "message": "token_invalid"}]}
    driver.expect({"socket": "close", "code": 4403, "expect": stopped})


def test_unreadable_tips_are_passed_over() -> None:
    driver = Driver().go_online(LOGGED)
    driver.give({"at": 25_000})
    driver.expect({"reply": "heartbeat", "ok": {"tips": [1]}, "expect": {}})
    driver.expect({"push": {"push": "tips", "data": {"room.42": "far"}}, "expect": {}})


def test_announced_topics_are_known_from_connect_on_and_follow_the_pushes() -> None:
    driver = Driver()
    driver.give({"do": "start"})
    driver.give({"socket": "open"})
    welcome = {"connection_id": "c", "user": {"id": 1, "name": "a"}, "announced": {"room.7": 3}}
    driver.give({"reply": "connect", "ok": welcome})
    assert driver.core.announced == {"room.7": 3}
    for data in ({"topics": {"room.7": 4, "room.8": 1}}, {"topics": {"room.7": "far"}}, {}, None):
        driver.give({"push": {"push": "topics.moved", "data": data}})
    assert driver.core.announced == {"room.7": 4, "room.8": 1}


def test_an_unreadable_answer_fails_the_message() -> None:
    driver = Driver().go_online()
    driver.give({"do": "send", "room": 1, "body": "a", "client_message_id": "x"})
    failed = {"failed": [{"client_message_id": "x"}]}
    driver.expect({"reply": "message.send", "ok": {"seq": 1}, "expect": failed})


def test_an_unreadable_message_confirms_nothing() -> None:
    driver = Driver().go_online()
    driver.give({"do": "send", "room": 1, "body": "a", "client_message_id": "x"})
    odd = {"push": "message.sent", "topic": "room.1", "data": {"client_message_id": "x"}}
    driver.expect({"push": odd, "expect": {"pushes": [{"push": "message.sent"}]}})


def test_a_request_without_a_connection_fails_at_once() -> None:
    driver = Driver()
    driver.core.request(1, "heartbeat", {}, now=0.0)
    driver._collect()
    assert isinstance(driver.answers[1], ConnectionLostError)


def test_acks_end_where_the_server_knows_none() -> None:
    driver = Driver().go_online(LOGGED)
    driver.expect({**push(6), "expect": {"pushes": [{"seq": 6}], "commands": [ACK]}})
    driver.expect({"reply": "ack", "error": error("unknown_type", retryable=False), "expect": {}})
    driver.expect({**push(7), "expect": {"pushes": [{"seq": 7}]}})


def test_an_ack_that_the_server_cannot_take_now_goes_later() -> None:
    driver = Driver().go_online(LOGGED)
    driver.give(push(6))
    refusal = error("rate_limited", retryable=True, retry_after_ms=3000)
    driver.expect({"reply": "ack", "error": refusal, "expect": {}})
    driver.expect({"at": 2999, "expect": {}})
    driver.expect({"at": 3000, "expect": {"commands": [ACK]}})


def test_many_rooms_are_acknowledged_fifty_at_a_time() -> None:
    rooms = [f"room.{number}" for number in range(1, 122)]
    driver = Driver().go_online(
        {name: {"epoch": "e1", "seq": 0, "recovered": False} for name in rooms}
    )
    first = {"push": "a", "topic": rooms[0], "seq": 1, "data": {}}
    driver.give({"push": first})
    for name in rooms[1:]:
        driver.give({"push": {**first, "topic": name}})
    driver.give({"reply": "ack", "ok": {}})
    for number, names in enumerate((rooms[1:51], rooms[51:101], rooms[101:]), start=1):
        ack = {"cmd": "ack", "seqs": dict.fromkeys(names, 1)}
        driver.expect({"at": 2000 * number, "expect": {"commands": [ack]}})
        driver.give({"reply": "ack", "ok": {}})
    driver.expect({"at": 10_000, "expect": {}})


def test_an_ack_that_the_server_refuses_is_not_repeated() -> None:
    driver = Driver().go_online(LOGGED)
    driver.give(push(6))
    driver.expect({"reply": "ack", "error": error("bad_ack", retryable=False), "expect": {}})
    driver.expect({"at": 10_000, "expect": {}})


def test_receipts_that_cannot_be_read_are_passed_over() -> None:
    driver = Driver().go_online(LOGGED)
    odd = {"push": "receipt", "topic": "room.42", "data": {"user": []}}
    driver.expect({"push": odd, "expect": {"pushes": [{"push": "receipt"}]}})
    assert driver.core.receipts.of("room.42") == {}


def test_receipts_begin_anew_with_another_history() -> None:
    def report(epoch: str, seq: int, **others: Any) -> dict[str, Any]:
        receipts = [{"user": 8, "delivered_seq": seq, "read_seq": seq}]
        return {"epoch": epoch, "seq": seq, "recovered": False, "receipts": receipts, **others}

    driver = Driver().go_online({"room.42": report("e1", 86)})
    driver.give({"socket": "close"})
    driver.give({"at": 250})
    driver.give({"socket": "open"})
    driver.give(
        {"reply": "connect", "topics": {"room.42": report("e2", 49, reason="epoch_changed")}}
    )
    assert driver.core.receipts.of("room.42")[8].read_seq == 49


def test_the_outbox_takes_a_message_once_and_not_without_end() -> None:
    outbox = Outbox(random=lambda: 0.5, limit=2)
    assert outbox.check(Draft("a", 1, "x"))
    outbox.add(Draft("a", 1, "x"))
    assert not outbox.check(Draft("a", 1, "x"))
    outbox.add(Draft("a", 1, "x"))
    with pytest.raises(CommandError) as caught:
        outbox.add(Draft("a", 1, "y"))
    assert caught.value.code is ErrorCode.IDEMPOTENCY_CONFLICT
    outbox.add(Draft("b", 1, "x"))
    with pytest.raises(OutboxFullError):
        outbox.add(Draft("c", 1, "x"))
    assert [draft.client_message_id for draft in outbox.drafts] == ["a", "b"]


def test_a_message_in_the_middle_can_be_withdrawn() -> None:
    driver = Driver().go_online()
    for name in "abc":
        driver.give({"do": "send", "room": 1, "body": name, "client_message_id": name})
    driver.core.withdraw("b", now=driver.now)
    driver.core.withdraw("b", now=driver.now)
    message = {"room": 1, "seq": 1, "body": "a", "client_message_id": "a"}
    sent = driver.give({"reply": "message.send", "message": message})
    assert [command["body"] for command in sent["commands"]] == ["c"]
