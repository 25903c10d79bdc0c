"""The handshake against a scripted server: dialects, refusals, and what a server without HTTP answers does."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.plain import PlainDialect
from djwsbridge.runtime import Runtime
from djwsbridge.transport import endpoint, seats
from djwsbridge.transport.admission import admission_of
from djwsbridge.transport.auth.handshake import HandshakeRefused
from djwsbridge.transport.auth.identity import Identity, refusal
from tests.unit.transport.conftest import NewClient, QuietConsumer
from tests.unit.transport.fake_server import V1, FakeClient, identity_of, make_scope, make_user

PLAIN = PlainDialect()
BEARER = "djwsbridge.bearer.a.b.c"


@pytest.mark.parametrize(
    ("offered", "name", "answered"),
    [
        ([], None, None),
        ([V1], V1, V1),
        (["chat", V1], V1, V1),
        ([BEARER], None, BEARER),
        ([BEARER, V1], V1, V1),
        (["djwsbridge.v99", V1], V1, V1),
        ([V1, ""], V1, V1),
        (["somebody-elses"], None, None),
    ],
)
def test_the_subprotocol_chooses_the_dialect(
    offered: list[str], name: str | None, answered: str | None
) -> None:
    dialect, subprotocol = endpoint.choose_dialect({"subprotocols": offered}, PLAIN)
    assert (dialect.name, subprotocol) == (name, answered)


@pytest.mark.parametrize("offered", [["a b"], ["ÿþ"], ["a\x00"], [f"p{n}" for n in range(21)]])
def test_subprotocols_that_are_none_are_refused(offered: list[str]) -> None:
    with pytest.raises(HandshakeRefused) as refused:
        endpoint.choose_dialect({"subprotocols": offered}, PLAIN)
    assert refused.value.status == 400


async def test_a_version_that_is_not_spoken_is_answered_with_those_that_are(
    new_client: NewClient,
) -> None:
    client = await new_client(subprotocols=["djwsbridge.v99"]).open()
    await client.assert_accepted()
    assert client.subprotocol == "djwsbridge.v99"
    data = await client.assert_pushed("error", code="unsupported_version", versions=[V1])
    assert data
    assert (await client.next_event())["code"] == 4400


@pytest.fixture
def outcome(node: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let a test decide what the handshake's credential is worth: an Identity, None or an exception."""
    answers: list[Any] = []

    async def authenticate(scope: Any) -> Identity | None:
        answer = answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(endpoint, "authenticate_handshake", authenticate)
    return answers


def client_of(**scope: Any) -> FakeClient:
    return FakeClient(QuietConsumer.as_asgi(), make_scope(known=False, **scope))


@pytest.mark.parametrize("status", [400, 403, 404, 429])
async def test_a_refusal_before_accept_is_an_http_answer(outcome: list[Any], status: int) -> None:
    outcome.append(HandshakeRefused(status, "reason", "why"))
    client = await client_of().open()
    await client.assert_denied(status)
    await client.next_event()
    await client.leave()


async def test_a_server_without_http_answers_is_told_to_close(outcome: list[Any]) -> None:
    outcome.append(HandshakeRefused(429, "guesses", "why"))
    client = await client_of(extensions={}).open()
    assert (await client.next_event())["type"] == "websocket.close"
    await client.leave()


@pytest.mark.parametrize("subprotocols", [[], [V1]], ids=["plain", "v1"])
async def test_a_bad_credential_is_told_in_the_clients_own_dialect(
    outcome: list[Any], subprotocols: list[str]
) -> None:
    outcome.append(refusal(ErrorCode.TOKEN_EXPIRED))
    client = await client_of(subprotocols=subprotocols).open()
    await client.assert_accepted()
    frame = await client.hear()
    assert frame.get("data", frame)["code"] == "token_expired"
    await client.assert_closed(4401)


async def test_a_database_that_is_down_sends_the_client_away(outcome: list[Any]) -> None:
    outcome.append(OperationalError("could not connect to /var/run/postgresql"))
    client = await client_of().open()
    await client.assert_accepted()
    data = await client.assert_told_and_closed(1013, "db_unavailable")
    assert data["retry_after_ms"] > 0
    assert "postgresql" not in str(data)


async def test_only_guesses_are_counted(outcome: list[Any]) -> None:
    async def try_once() -> dict[str, Any]:
        client = await client_of().open()
        event = await client.next_event()
        while event["type"] in {"websocket.send", "websocket.accept"}:
            event = await client.next_event()
        await client.leave()
        return event

    outcome.append(refusal(ErrorCode.TOKEN_EXPIRED))
    assert {(await try_once())["code"] for _ in range(25)} == {4401}
    outcome[0] = refusal(ErrorCode.FORBIDDEN, CloseCode.FORBIDDEN)
    assert {(await try_once())["code"] for _ in range(25)} == {4403}
    outcome[0] = refusal(ErrorCode.TOKEN_INVALID)
    assert {(await try_once())["code"] for _ in range(20)} == {4401}
    client = await client_of().open()
    await client.assert_denied(429)
    await client.leave()


async def test_a_full_address_is_refused_and_gets_its_place_back(
    new_client: NewClient, node: Runtime, settings: Any
) -> None:
    settings.DJWSBRIDGE_TRUSTED_PROXIES = ["127.0.0.1"]
    settings.DJWSBRIDGE_CONNECTIONS_PER_ADDRESS = 2
    headers = [(b"x-forwarded-for", b"10.0.0.1")]
    first, second, third = (new_client(headers=headers) for _ in range(3))
    for client in (first, second):
        await client.join()
        client.gives_proofs = True
    await third.open()
    event = await third.next_event()
    assert (event["type"], event["status"]) == ("websocket.http.response.start", 429)
    assert 10 <= int(dict(event["headers"])[b"retry-after"]) <= 20
    await third.leave()
    await second.leave()
    await new_client(headers=headers).join()
    await new_client(headers=[(b"x-forwarded-for", b"10.0.0.2")]).join()
    assert admission_of(node)._addresses.counts == {"10.0.0.1": 2, "10.0.0.2": 1}


async def test_a_dead_connection_of_an_address_makes_room(
    new_client: NewClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats, "ANSWER_TIME", 0.3)
    settings.DJWSBRIDGE_TRUSTED_PROXIES = ["127.0.0.1"]
    settings.DJWSBRIDGE_CONNECTIONS_PER_ADDRESS = 2
    headers = [(b"x-forwarded-for", b"10.0.0.1")]
    first, second = (new_client(number, headers=headers) for number in (7, 8))
    for client in (first, second):
        await client.join()
    second.gives_proofs = True
    assert "ok" in await new_client(9, headers=headers).join()
    assert first.closes == [4421]
    assert "ok" in await second.ask("heartbeat", id=2)


async def test_what_the_middleware_knows_is_not_asked_again(node: Runtime) -> None:
    identity = identity_of(make_user(9))
    assert await endpoint.authenticate(make_scope(identity)) is identity
    assert await endpoint.authenticate(make_scope(None)) is None


async def test_a_storm_is_let_in_piece_by_piece(
    new_client: NewClient, node: Runtime, settings: Any
) -> None:
    settings.DJWSBRIDGE_HANDSHAKE_RATE = (2, 3600.0)
    delays = []
    for number in range(5):
        client = await new_client(7, known=False).open()
        await client.assert_accepted()
        if number < 2:
            continue
        data = await client.assert_pushed("error", code="busy")
        delays.append(data["data"]["retry_after_ms"])
        assert (await client.next_event())["code"] == 1013
    assert all(2_000 <= delay <= 10_000 for delay in delays)
    assert len(set(delays)) == 3
