"""Sentinels with a password and with TLS; and what is said of a Redis that cannot be reached: where, and why."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from djwsbridge.engine.redis import RedisEngine
from djwsbridge.protocol.errors import EngineUnavailable
from tests.contract.conftest import tracked
from tests.contract.rig import Node, eventually
from tests.redis_rig import SERVICE, guarded_sentinel, make_certificate
from tests.servers import RedisServer, free_port

PASSWORD = "s3ntinels-own"


class Guard:
    """A sentinel that does not let everybody in.

    Args:
        port: its own.
        certificate: it wants TLS, as its primary does; None: neither does.
    """

    def __init__(self, port: int, certificate: Path | None) -> None:
        self.place = f"127.0.0.1:{port}/{SERVICE}"
        self.tls = {"ssl": True, "ssl_ca_certs": str(certificate)} if certificate else {}
        self.url = f"redis+sentinel://{self.place}"
        if certificate:
            self.url = f"rediss+sentinel://{self.place}?ssl_ca_certs={certificate}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    with guarded_sentinel(tmp_path_factory.mktemp("plain"), password=PASSWORD) as port:
        yield Guard(port, None)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Guard]:
    directory = tmp_path_factory.mktemp("secure")
    with guarded_sentinel(directory, password=PASSWORD, certificate=certificate) as port:
        yield Guard(port, certificate)


@pytest.fixture
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give Redis the time that a busy machine takes."""
    monkeypatch.setattr("djwsbridge.engine.redis.PUBLISH_TIMEOUT", 5.0)
    monkeypatch.setattr("djwsbridge.engine.redis.CONNECT_TIMEOUT", 5.0)


@pytest.mark.parametrize("name", ["plain", "secure"])
async def test_sentinels_with_a_password_and_with_tls_are_asked(
    name: str, request: pytest.FixtureRequest, slow_machine: None
) -> None:
    guard: Guard = request.getfixturevalue(name)
    kwargs = {"password": PASSWORD, **guard.tls}
    node = Node(tracked(RedisEngine(guard.url, sentinel_kwargs=kwargs)))
    await node.engine.start(node.deliver)
    await node.engine.subscribe("room.1")
    await node.engine.publish("room.1", "{}")
    await node.assert_delivered(("room.1", "{}"))


async def assert_said(
    caplog: pytest.LogCaptureFixture,
    url: str,
    sentinel_kwargs: Mapping[str, Any],
    *,
    place: str,
    reason: str,
) -> None:
    """Expect an address and a reason from a push, a subscription and the log, and no secret anywhere."""
    engine = tracked(RedisEngine(url, sentinel_kwargs=sentinel_kwargs))
    await engine.start(lambda _topic, _text: None)
    said = []
    for ask in (engine.subscribe("room.1"), engine.publish("room.1", "{}")):
        with pytest.raises(EngineUnavailable) as refused:
            await ask
        said.append(str(refused.value))
    await eventually(lambda: "The link to Redis is down" in caplog.text)
    said += [one.getMessage() for one in caplog.records if one.name == "djwsbridge.engine"]
    for text in said:
        assert place in text
        assert reason in text
        assert not any(secret in text for secret in (PASSWORD, "wrong-secret", "hidden"))


Kwargs = Callable[[Guard], Mapping[str, Any]]


@pytest.mark.parametrize(
    ("name", "kwargs", "reason"),
    [
        ("plain", lambda _: {}, "wrong user or password"),
        ("plain", lambda _: {"password": "wrong-secret"}, "wrong user or password"),
        ("secure", lambda guard: {**guard.tls, "password": "wrong-secret"}, "wrong user or"),
        ("secure", lambda _: {"password": PASSWORD, "ssl": True}, "certificate cannot be verified"),
        ("secure", lambda _: {"password": PASSWORD}, "as where TLS is wanted"),
        ("plain", lambda _: {"password": PASSWORD, "ssl": True}, "no answer in time"),
    ],
)
async def test_why_the_sentinels_do_not_answer(
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
    slow_machine: None,
    name: str,
    kwargs: Kwargs,
    reason: str,
) -> None:
    guard: Guard = request.getfixturevalue(name)
    url = guard.url.replace("://", "://:hidden@", 1)
    await assert_said(caplog, url, kwargs(guard), place=guard.place, reason=reason)


async def test_sentinels_that_do_not_know_the_service(
    caplog: pytest.LogCaptureFixture, plain: Guard, slow_machine: None
) -> None:
    url, kwargs = plain.url.replace(SERVICE, "other"), {"password": PASSWORD}
    place = plain.place.replace(SERVICE, "other")
    await assert_said(caplog, url, kwargs, place=place, reason="it knows no such service as other")


@pytest.fixture
def silent() -> Iterator[int]:
    """Return a port where connections are taken and nothing is answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        yield port


@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel"])
async def test_why_a_redis_does_not_answer(
    caplog: pytest.LogCaptureFixture, silent: int, slow_machine: None, scheme: str
) -> None:
    path = f"/{SERVICE}" if scheme.endswith("sentinel") else "/0"
    for host, reason in (
        (f"127.0.0.1:{free_port()}", "connection refused"),
        ("no-such-host.invalid:6379", "no such host"),
        (f"127.0.0.1:{silent}", "no answer in time"),
    ):
        caplog.clear()
        url = f"{scheme}://:hidden@{host}{path}"
        await assert_said(caplog, url, {}, place=f"{scheme}://{host}{path}", reason=reason)


async def test_a_server_with_another_password(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, slow_machine: None
) -> None:
    with RunningRedis(tmp_path) as port:
        url = f"redis://:wrong-secret@127.0.0.1:{port}/0"
        await assert_said(
            caplog, url, {}, place=f"redis://127.0.0.1:{port}/0", reason="wrong user or password"
        )


class RunningRedis(RedisServer):
    """A Redis that wants a password."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, options=("--requirepass", PASSWORD))

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"-NOAUTH")
        except OSError:
            return False

    def __enter__(self) -> int:
        self.start()
        return self.port

    def __exit__(self, *_: object) -> None:
        self.stop()
