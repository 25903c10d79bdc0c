"""The rig itself: servers start, answer, and name what is missing."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.servers import find_binary, wait_until

if TYPE_CHECKING:
    from tests.servers import PostgresServer


def test_redis_answers(redis_url: str) -> None:
    address = urlsplit(redis_url)
    with socket.create_connection((address.hostname, address.port)) as link:
        link.sendall(b"PING\r\n")
        assert link.recv(16) == b"+PONG\r\n"


def test_postgresql_answers_and_commits_durably(postgres: PostgresServer) -> None:
    assert postgres.execute("SHOW synchronous_commit").strip() == "on"


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(FileNotFoundError, match="apt-get install no-such-package"):
        find_binary("no-such-program", package="no-such-package")


def test_waiting_gives_up_with_a_reason() -> None:
    with pytest.raises(TimeoutError, match="gave up waiting for the impossible"):
        wait_until(lambda: False, "the impossible", timeout=0)
