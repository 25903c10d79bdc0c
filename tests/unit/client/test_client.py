"""The shell: a client on a real socket, against a scripted server."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import serve

from djwsbridge.client import (
    Client,
    CommandError,
    ConnectionLostError,
    Draft,
    HandshakeRefusedError,
    Person,
    Push,
    ReplyTimeoutError,
    State,
    StateChange,
    StoppedError,
)
from djwsbridge.protocol.codes import ErrorCode
from tests.servers import TIMEOUT, free_port
from tests.unit.client.conftest import FakeServer, soon

LOGGED = {"room.42": {"epoch": "e1", "seq": 5, "recovered": False}}
BUSY = {"error": {"code": "busy", "message": "Busy.", "retryable": True}}
NOT_FOUND = {"error": {"code": "not_found", "message": "Not found.", "retryable": False}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the back-off be as short as luck can make it."""
    monkeypatch.setattr("djwsbridge.client.client.random.random", lambda: 0.01)


@contextmanager
def broken_disk(path: Path) -> Iterator[None]:
    """Let nothing be written to a file; afterwards it is as it was."""
    kept = path.rename(path.with_name("kept"))
    path.mkdir()
    yield
    path.rmdir()
    kept.rename(path)


async def until(client: Client, state: State) -> None:
    while client.state is not state:
        await client._wait_change()


# -- life ------------------------------------------------------------------------------------------------------------


async def test_online_inside_the_block_and_stopped_after_it(server: FakeServer) -> None:
    changes: list[StateChange] = []
    async with Client(server.url, token="t1", on_state=changes.append) as client:
        assert client.state is State.ONLINE
        assert client.user == Person(7, "alice")
        assert client.connection_id == "c1"
    assert [change.state for change in changes] == [State.CONNECTING, State.ONLINE, State.STOPPED]
    (command,) = await server.wait_for("connect")
    assert command == {"id": 1, "cmd": "connect", "token": "t1"}
    assert not server.connections


async def test_who_leaves_says_that_nothing_is_wrong(server: FakeServer) -> None:
    async with Client(server.url):
        (connection,) = server.connections
    await soon(connection.wait_closed())
    assert connection.close_code == 1000


async def test_a_client_can_be_used_again(server: FakeServer) -> None:
    client = Client(server.url)
    for _ in range(2):
        async with client:
            assert client.state is State.ONLINE


async def test_headers_go_with_the_handshake(server: FakeServer) -> None:
    async def headers() -> dict[str, str]:
        return {"Authorization": "Bearer t1"}

    async with Client(server.url, headers=headers):
        assert server.handshakes[0]["authorization"] == "Bearer t1"
    async with Client(server.url, headers={"Cookie": "sessionid=s"}):
        assert server.handshakes[1]["cookie"] == "sessionid=s"


async def test_a_ticket_is_fetched_for_each_attempt(server: FakeServer) -> None:
    tickets = iter(["one", "two"])
    async with Client(server.url, ticket=lambda: next(tickets)):
        server.cut()
        commands = await server.wait_for("connect", count=2)
    assert [command["ticket"] for command in commands] == ["one", "two"]


def test_a_token_and_a_ticket_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="not both"):
        Client("ws://127.0.0.1/", token="a", ticket="b")


async def test_a_server_that_never_answers_ends_the_patience_of_the_block() -> None:
    client = Client(f"ws://127.0.0.1:{free_port()}/", open_timeout=0.01)
    with pytest.raises(TimeoutError, match="could not be reached"):
        await soon(client.__aenter__())
    assert client.state is State.STOPPED


async def test_a_final_close_code_ends_the_client(server: FakeServer) -> None:
    server.script["message.send"] = None
    async with Client(server.url) as client:
        sending = asyncio.create_task(client.send_message(42, "hi"))
        await server.wait_for("message.send")
        await server.push("error", data={"code": "revoked", "message": "Log in again."})
        await server.close(4410)
        for failing in (sending, anext(aiter(client.pushes())), client.request("heartbeat")):
            with pytest.raises(StoppedError, match="Log in again") as caught:
                await soon(failing)
            assert caught.value.close_code == 4410
            assert caught.value.reason == "revoked"


@pytest.mark.parametrize(
    ("status", "failure", "words"),
    [
        (401, StoppedError, "credential"),
        (403, StoppedError, "an Origin that the server allows"),
        (404, TimeoutError, "no WebSocket at this address"),
        (429, TimeoutError, "Too many connections"),
        (502, TimeoutError, "proxy"),
    ],
)
async def test_a_refused_handshake_is_reported(
    status: int, failure: type[Exception], words: str
) -> None:
    def refuse(connection: Any, request: Any) -> Any:
        return connection.respond(status, "no")

    async with serve(lambda _: None, "127.0.0.1", 0, process_request=refuse) as running:  # type: ignore[arg-type, return-value]
        port = running.sockets[0].getsockname()[1]
        client = Client(f"ws://127.0.0.1:{port}/", token="t", open_timeout=0.5)
        with pytest.raises(failure, match=f"HTTP {status}.*{words}") as failed:
            await soon(client.__aenter__())
    refused = failed.value.__cause__
    assert isinstance(refused, HandshakeRefusedError)
    assert refused.status == status
    if isinstance(failed.value, StoppedError):
        assert failed.value.reason == "unauthorized"


async def test_a_function_that_has_no_credential_stops(server: FakeServer) -> None:
    def token() -> str:
        raise CommandError(ErrorCode.REVOKED)

    with pytest.raises(StoppedError, match="unauthorized"):
        await soon(Client(server.url, token=token).__aenter__())


async def test_a_function_that_fails_is_asked_again(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([OSError("down"), CommandError(ErrorCode.BUSY), "t1"])

    async def token() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with Client(server.url, token=token) as client:
        assert client.state is State.ONLINE
    assert caplog.text.count("No credential") == 2


async def test_what_the_function_raises_reaches_the_application(server: FakeServer) -> None:
    answers = iter([OSError("the store is down"), CommandError(ErrorCode.BUSY), "t1"])
    changes: list[StateChange] = []

    def token() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with Client(server.url, token=token, on_state=changes.append):
        waits = [(one.reason, one.message) for one in changes if one.state is State.WAITING]
    assert waits == [
        ("not_opened", "OSError: the store is down"),
        ("not_opened", "busy: The server is busy. Try again."),
    ]


async def test_a_token_is_renewed_on_the_same_connection(server: FakeServer) -> None:
    tokens = iter(["one", "two"])
    async with Client(server.url, token=lambda: next(tokens)):
        await server.push("auth.expiring", data={"expires_in_ms": 60_000})
        (command,) = await server.wait_for("auth.refresh")
        assert command["token"] == "two"
        assert len(server.handshakes) == 1


async def test_a_function_that_gives_the_token_that_ends_is_asked_less_and_less_often(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("djwsbridge.client.client.RENEWAL_PAUSES", (0.05, 0.2))
    asked: list[float] = []

    def token() -> str:
        asked.append(asyncio.get_running_loop().time())
        return "cached" if len(asked) < 6 else "new"

    async with Client(server.url, token=token):
        for _ in range(20):
            await server.push("auth.expiring", data={"expires_in_ms": 60_000})
        (command,) = await server.wait_for("auth.refresh")
    assert command["token"] == "new"
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked[1:])]
    for pause, least in zip(pauses, [0.05, 0.1, 0.2, 0.2], strict=True):
        assert pause >= least - 0.01


async def test_a_client_that_leaves_waits_for_no_token(server: FakeServer) -> None:
    async with Client(server.url, token=lambda: "cached") as client:
        await server.push("auth.expiring", data={"expires_in_ms": 60_000})
        await soon(client.request("heartbeat"))
    await soon(client.close())


async def test_a_token_that_cannot_be_renewed_is_kept(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.script["auth.refresh"] = NOT_FOUND
    tokens = iter(["one", "two"])
    async with Client(server.url, token=lambda: next(tokens)) as client:
        await server.push("auth.expiring", data={"expires_in_ms": 60_000})
        await server.wait_for("auth.refresh")
        await soon(client.request("heartbeat"))
        assert client.state is State.ONLINE
    assert "could not be renewed" in caplog.text


async def test_a_failing_on_state_is_logged(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(server.url, on_state=lambda _: 1 / 0):
        assert "on_state has failed" in caplog.text


# -- messages --------------------------------------------------------------------------------------------------------


async def test_a_message_is_returned_as_it_is_stored(server: FakeServer) -> None:
    client_message_id = uuid.uuid4()
    async with Client(server.url) as client:
        message = await soon(client.send_message(42, "hi", client_message_id))
        assert (message.room, message.seq, message.body) == (42, 1, "hi")
        assert message.sender == Person(7, "alice")
        assert message.client_message_id == str(client_message_id)
        assert client.outbox == []


async def test_a_lost_reply_is_asked_for_again_with_the_same_id(server: FakeServer) -> None:
    store = server._store

    def store_and_break(frame: dict[str, Any]) -> None:
        store(frame)
        server.script["message.send"] = store
        server.cut()

    server.script["message.send"] = store_and_break
    async with Client(server.url) as client:
        message = await soon(client.send_message(42, "hi"))
    assert message.seq == 1
    assert len(server.stored) == 1
    first, second = await server.wait_for("message.send", count=2)
    assert first["client_message_id"] == second["client_message_id"]


async def test_a_retryable_error_is_retried_and_a_final_one_raised(server: FakeServer) -> None:
    answers = iter([BUSY, NOT_FOUND])
    server.script["message.send"] = lambda _: next(answers)
    async with Client(server.url) as client:
        with pytest.raises(CommandError) as caught:
            await soon(client.send_message(42, "hi"))
    assert caught.value.code is ErrorCode.NOT_FOUND


async def test_two_callers_may_wait_for_one_message(server: FakeServer) -> None:
    client_message_id = uuid.uuid4()
    async with Client(server.url) as client:
        sends = [client.send_message(42, "hi", client_message_id) for _ in range(2)]
        first, second = await soon(asyncio.gather(*sends))
        assert first == second
    assert len(await server.wait_for("message.send")) == 1


async def test_a_caller_that_gives_up_takes_the_message_along(server: FakeServer) -> None:
    server.script["message.send"] = None
    async with Client(server.url) as client:
        sending = asyncio.create_task(client.send_message(42, "hi"))
        await server.wait_for("message.send")
        sending.cancel()
        await asyncio.wait([sending])
        assert client.outbox == []


async def test_an_outbox_on_disk_survives_the_process(server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    answer, server.script["message.send"] = server.script["message.send"], None
    async with Client(server.url, outbox=path) as client:
        sends = [asyncio.create_task(client.send_message(42, body)) for body in ("a", "b")]
        await server.wait_for("message.send")
        sends[0].cancel()
    assert isinstance((await asyncio.wait_for(_outcome(sends[1]), TIMEOUT)), StoppedError)
    server.script["message.send"] = answer
    async with Client(server.url, outbox=path) as client:
        await server.wait_for("message.send", count=3)
        while client.outbox:
            await client.request("heartbeat")
    assert [message["body"] for message in server.stored.values()] == ["a", "b"]
    assert Client(server.url, outbox=path).outbox == []


async def test_a_message_of_an_earlier_process_that_is_refused_is_logged(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outbox.jsonl"
    path.write_text(json.dumps({"client_message_id": "x", "room": 1, "body": "late"}) + "\n")
    server.script["message.send"] = NOT_FOUND
    async with Client(server.url, outbox=path) as client:
        await server.wait_for("message.send")
        await soon(client.request("heartbeat"))
        assert client.outbox == []
    assert "Message x was refused" in caplog.text


async def test_a_message_that_cannot_be_encoded_is_not_queued(server: FakeServer) -> None:
    async with Client(server.url) as client:
        with pytest.raises(UnicodeEncodeError):
            await soon(client.send_message(42, "half a \ud83d"))
        assert client.outbox == []
        await soon(client.send_message(42, "one"))
        server.cut()
        await soon(client.send_message(42, "two"))
    assert [message["body"] for message in server.stored.values()] == ["one", "two"]


async def test_a_message_that_cannot_be_kept_is_not_sent(
    server: FakeServer, tmp_path: Path
) -> None:
    path = tmp_path / "outbox.jsonl"
    async with Client(server.url, outbox=path) as client:
        with broken_disk(path), pytest.raises(IsADirectoryError):
            await soon(client.send_message(42, "one"))
        assert client.outbox == []
        await soon(client.send_message(42, "two"))
    assert [message["body"] for message in server.stored.values()] == ["two"]


async def test_a_message_is_kept_once_however_many_wait_for_it(
    server: FakeServer, tmp_path: Path
) -> None:
    path = tmp_path / "outbox.jsonl"
    server.script["message.send"] = None
    async with Client(server.url, outbox=path) as client:
        sends = [asyncio.create_task(client.send_message(42, "a", "x")) for _ in range(2)]
        await server.wait_for("message.send")
        with pytest.raises(CommandError, match="idempotency_conflict"):
            await client.send_message(42, "b", "x")
        assert path.read_text().split() == ['{"client_message_id":"x","room":42,"body":"a"}']
    await asyncio.wait(sends)


async def test_a_confirmation_that_cannot_be_noted_is_one_all_the_same(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outbox.jsonl"
    store = server._store
    with ExitStack() as stack:

        def store_and_break(frame: dict[str, Any]) -> Any:
            server.script["message.send"] = store
            stack.enter_context(broken_disk(path))
            return store(frame)

        server.script["message.send"] = store_and_break
        async with Client(server.url, outbox=path) as client:
            sends = [client.send_message(42, body) for body in ("a", "b")]
            assert [message.body for message in await soon(asyncio.gather(*sends))] == ["a", "b"]
            assert await soon(client.request("heartbeat")) == {}
            assert client.outbox == []
            assert len(server.handshakes) == 1
            stack.close()
            await soon(client.send_message(42, "c"))
    assert caplog.text.count("is still in the outbox on disk") == 2
    assert Client(server.url, outbox=path).outbox == []


async def test_what_has_failed_is_not_sent_by_the_same_client_later(server: FakeServer) -> None:
    server.script["message.send"] = None
    client = Client(server.url)
    async with client:
        sending = asyncio.create_task(client.send_message(42, "a"))
        await server.wait_for("message.send")
    with pytest.raises(StoppedError):
        await soon(sending)
    assert client.outbox == []
    server.script["message.send"] = server._store
    async with client:
        await soon(client.send_message(42, "b"))
    assert [message["body"] for message in server.stored.values()] == ["b"]


async def test_what_is_kept_on_disk_is_sent_by_the_same_client_later(
    server: FakeServer, tmp_path: Path
) -> None:
    server.script["message.send"] = None
    client = Client(server.url, outbox=tmp_path / "outbox.jsonl")
    async with client:
        sending = asyncio.create_task(client.send_message(42, "a"))
        await server.wait_for("message.send")
    with pytest.raises(StoppedError):
        await soon(sending)
    server.script["message.send"] = server._store
    async with client:
        await soon(client.send_message(42, "b"))
    assert [message["body"] for message in server.stored.values()] == ["a", "b"]


async def _outcome(task: asyncio.Task[Any]) -> object:
    await asyncio.wait([task])
    return task.exception()


# -- other commands --------------------------------------------------------------------------------------------------


async def test_a_request_returns_the_answer_or_raises_the_error(server: FakeServer) -> None:
    server.script["message.list"] = {"ok": {"messages": [], "last_seq": 3}}
    server.script["nope"] = {"error": {"code": "of_the_future", "message": "?", "retryable": False}}
    async with Client(server.url) as client:
        assert (await soon(client.request("message.list", room=42)))["last_seq"] == 3
        with pytest.raises(CommandError) as caught:
            await soon(client.request("nope"))
        assert caught.value.details == {"unknown_code": "of_the_future"}
        assert not caught.value.retryable


async def test_a_request_that_cannot_be_written_is_told_at_once_and_leaves_nothing(
    server: FakeServer,
) -> None:
    async with Client(server.url) as client:
        for field in (object(), "\ud800"):
            with pytest.raises((TypeError, UnicodeError)):
                await soon(client.request("message.list", room=field))
        assert client._requests == {}
        assert client._core._connection._pending == {}
        assert await soon(client.request("heartbeat")) == {}


async def test_a_request_is_sent_once(server: FakeServer) -> None:
    server.script["room.mark_read"] = None
    async with Client(server.url) as client:
        asking = asyncio.create_task(client.request("room.mark_read", room=42, seq=1))
        await server.wait_for("room.mark_read")
        server.cut()
        with pytest.raises(ConnectionLostError):
            await soon(asking)
        with pytest.raises(ReplyTimeoutError):
            await soon(client.request("room.mark_read", timeout=0.01))


async def test_a_request_waits_for_the_connection_but_not_for_ever(server: FakeServer) -> None:
    async with Client(server.url) as client:
        server.cut()
        await until(client, State.WAITING)
        assert await soon(client.request("heartbeat")) == {}
        server.script["connect"] = None
        server.cut()
        await until(client, State.CONNECTING)
        with pytest.raises(ReplyTimeoutError):
            await client.request("heartbeat", timeout=0.01)


async def test_subscriptions_are_made_again_on_every_connection(server: FakeServer) -> None:
    async with Client(server.url) as client:
        await soon(client.subscribe("stock.1"))
        server.cut()
        await server.wait_for("subscribe", count=2)
        await soon(client.unsubscribe("stock.1"))
        server.cut()
        await server.wait_for("connect", count=3)
        await soon(client.request("heartbeat"))
    assert len(await server.wait_for("subscribe")) == 2


# -- pushes ----------------------------------------------------------------------------------------------------------


async def test_pushes_are_given_out_and_move_the_cursors(server: FakeServer) -> None:
    server.topics = LOGGED
    async with Client(server.url) as client:
        assert client.cursors == {"room.42": ("e1", 5)}
        await server.push("message.sent", topic="room.42", seq=6, data={"body": "hi"})
        await server.push("typing", topic="room.42")
        pushes = client.pushes()
        assert await soon(anext(pushes)) == Push("message.sent", "room.42", 6, {"body": "hi"})
        assert client.cursors == {"room.42": ("e1", 6)}
        assert (await soon(anext(pushes))).type == "typing"
    with pytest.raises(StopAsyncIteration):
        await soon(anext(pushes))


async def test_cursors_resume_in_another_process(server: FakeServer) -> None:
    cursors = json.loads(json.dumps({"room.42": ("e1", 5)}))
    event = {"push": "message.sent", "topic": "room.42", "seq": 6, "data": {}}
    server.topics = {"room.42": {"epoch": "e1", "seq": 6, "recovered": True, "events": [event]}}
    async with Client(server.url, cursors=cursors) as client:
        assert (await soon(anext(client.pushes()))).seq == 6
    (command,) = await server.wait_for("connect")
    assert command["cursors"] == {"room.42": ["e1", 5]}


async def test_one_who_does_not_read_pushes_still_gets_replies(server: FakeServer) -> None:
    server.topics = LOGGED
    events = [{"push": "a", "topic": "room.42", "seq": seq, "data": {}} for seq in range(10, 16)]
    report = {"epoch": "e1", "seq": 15, "recovered": True, "events": events}
    server.script["topic.recover"] = {"ok": report}
    async with Client(server.url, queue_limit=4) as client:
        for seq in range(6, 16):
            await server.push("a", topic="room.42", seq=seq)
            await server.push("typing", topic="room.42")
        assert await soon(client.request("heartbeat")) == {}
        assert client.dropped > 0
        seqs: list[int] = []
        async for push in client.pushes():
            if push.seq is not None:
                seqs.append(push.seq)
            if push.seq == 15:
                break
        assert seqs == list(range(6, 16))
        assert client.cursors == {"room.42": ("e1", 15)}


async def test_receipts_are_kept_by_room_and_user(server: FakeServer) -> None:
    receipts = [{"user": 8, "delivered_seq": 5, "read_seq": 4}, {"user": 9, "delivered_seq": 3}]
    server.topics = {"room.42": {**LOGGED["room.42"], "receipts": receipts}}
    async with Client(server.url) as client:
        data = {"room": 42, "user": 8, "delivered_seq": 6, "read_seq": 2}
        await server.push("receipt", topic="room.42", data=data)
        assert (await soon(anext(client.pushes()))).type == "receipt"
        known = client.receipts(42)
        assert (known[8].delivered_seq, known[8].read_seq) == (6, 4)
        assert (known[9].delivered_seq, known[9].read_seq) == (3, None)
        assert client.receipts(43) == {}


def test_what_waits_is_known_before_the_first_connection(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    path.write_text('{"client_message_id":"x","room":1,"body":"a"}\n{"client_mess')
    client = Client("ws://127.0.0.1/", outbox=path)
    assert client.outbox == [Draft("x", 1, "a")]
    assert client.user is None
    assert client.connection_id is None
