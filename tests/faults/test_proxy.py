"""The fault proxy: what it does to bytes and connections, seen from both ends."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults.proxy import Link, Proxy, Trouble, fault_proxy
from tests.servers import TIMEOUT, wait_until


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with fault_proxy(seed=7) as running:
        yield running


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        yield server


@pytest.fixture
def link(proxy: Proxy, target: socket.socket) -> Link:
    return proxy.link("target", target.getsockname()[1])


@pytest.fixture
def ends(link: Link, target: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return both ends of a connection through the proxy: the client's and the server's."""
    with (
        socket.create_connection(("127.0.0.1", link.port), TIMEOUT) as client,
        target.accept()[0] as server,
    ):
        server.settimeout(TIMEOUT)
        wait_until(lambda: link.connections == 1, "the connection")
        yield client, server


Ends = tuple[socket.socket, socket.socket]


def receive(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = end.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


def receive_all(end: socket.socket, got: list[bytes]) -> None:
    while piece := end.recv(1):
        got.append(piece)


def connect_and_receive(link: Link) -> None:
    with socket.create_connection(("127.0.0.1", link.port), TIMEOUT) as end:
        end.recv(1)


def hears_nothing(end: socket.socket, seconds: float = 0.1) -> bool:
    end.settimeout(seconds)
    try:
        return not end.recv(1)
    except TimeoutError:
        return True
    finally:
        end.settimeout(TIMEOUT)


def test_bytes_pass_unchanged_both_ways(ends: Ends) -> None:
    client, server = ends
    sent = random.Random(1).randbytes(300_000)
    sender = threading.Thread(target=client.sendall, args=(sent,))
    sender.start()
    assert receive(server, len(sent)) == sent
    sender.join()
    server.sendall(b"answer")
    assert receive(client, 6) == b"answer"


def test_an_end_of_stream_leaves_the_other_direction_open(ends: Ends) -> None:
    client, server = ends
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    server.sendall(b"still here")
    assert receive(client, 10) == b"still here"


def test_latency_delays_each_direction_by_its_own(link: Link, ends: Ends) -> None:
    client, server = ends
    link.set(up=Trouble(latency=0.2, jitter=0.05))
    begun = time.monotonic()
    client.sendall(b"a")
    assert receive(server, 1) == b"a"
    assert time.monotonic() - begun >= 0.15
    client.sendall(b"bc")
    client.sendall(b"d")
    assert receive(server, 3) == b"bcd"  # jitter does not change the order


def test_a_rate_spreads_what_is_sent(link: Link, ends: Ends) -> None:
    client, server = ends
    link.set(down=Trouble(rate=10_000, slice=500))
    begun = time.monotonic()
    server.sendall(bytes(2_000))
    assert len(receive(client, 2_000)) == 2_000
    assert time.monotonic() - begun >= 0.14


def test_a_black_hole_swallows_one_direction_until_it_is_healed(link: Link, ends: Ends) -> None:
    client, server = ends
    link.set(up=Trouble(black=True))
    client.sendall(b"lost in space")
    assert hears_nothing(server)
    server.sendall(b"hear me")
    assert receive(client, 7) == b"hear me"
    link.heal()
    assert receive(server, 13) == b"lost in space"


def test_a_black_hole_hides_the_end_of_a_connection(link: Link, ends: Ends) -> None:
    client, server = ends
    link.set(up=Trouble(black=True), down=Trouble(black=True))
    client.close()
    assert hears_nothing(server)
    assert link.connections == 1
    link.heal()
    assert server.recv(1) == b""


def test_a_stranded_connection_stays_open_and_silent_and_new_ones_pass(
    link: Link, ends: Ends, target: socket.socket
) -> None:
    client, server = ends
    assert link.strand() == 1
    client.sendall(b"lost")
    client.close()
    assert hears_nothing(server)
    with socket.create_connection(("127.0.0.1", link.port), TIMEOUT) as newcomer:
        newcomer.sendall(b"hello")
        with target.accept()[0] as other:
            other.settimeout(TIMEOUT)
            assert receive(other, 5) == b"hello"
    link.heal()
    assert receive(server, 4) == b"lost"
    assert server.recv(1) == b""


def test_a_reset_reaches_both_ends(link: Link, ends: Ends) -> None:
    assert link.cut(reset=True) == 1
    for end in ends:
        with pytest.raises(ConnectionResetError):
            end.recv(1)


def test_a_fin_reaches_both_ends(link: Link, ends: Ends) -> None:
    assert link.cut(reset=False) == 1
    assert [end.recv(1) for end in ends] == [b"", b""]
    wait_until(lambda: link.connections == 0, "the connection to be forgotten")


def test_a_connection_is_cut_inside_what_is_sent(link: Link, ends: Ends) -> None:
    client, server = ends
    link.set(up=Trouble(cut_after=5, slice=2))
    client.sendall(b"0123456789")
    got: list[bytes] = []
    with pytest.raises(ConnectionResetError):
        receive_all(server, got)
    assert b"01234".startswith(b"".join(got))


def test_slices_arrive_whole(link: Link, ends: Ends) -> None:
    client, server = ends
    link.set(up=Trouble(slice=1))
    client.sendall(b"one byte at a time")
    assert receive(server, 18) == b"one byte at a time"


def test_new_connections_are_refused_and_open_ones_live(link: Link, ends: Ends) -> None:
    client, server = ends
    link.refuse()
    with pytest.raises(ConnectionResetError):
        connect_and_receive(link)
    client.sendall(b"here")
    assert receive(server, 4) == b"here"
    link.heal()
    with socket.create_connection(("127.0.0.1", link.port), TIMEOUT):
        wait_until(lambda: link.connections == 2, "the new connection")


def test_a_target_that_is_down_resets_its_clients(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        link = proxy.link("gone", gone.getsockname()[1])
    with pytest.raises(ConnectionResetError):
        connect_and_receive(link)


def test_targets_take_turns_and_one_that_is_down_is_passed_over(
    proxy: Proxy, target: socket.socket
) -> None:
    with (
        socket.socket() as gone,
        socket.create_server(("127.0.0.1", 0)) as other,
        ExitStack() as clients,
    ):
        gone.bind(("127.0.0.1", 0))  # nobody else gets the port, and nobody listens
        gone_port = gone.getsockname()[1]
        other.settimeout(TIMEOUT)
        link = proxy.link("all", gone_port, target.getsockname()[1], other.getsockname()[1])
        for _ in range(6):
            client = socket.create_connection(("127.0.0.1", link.port), TIMEOUT)
            clients.enter_context(client)
        # The turns of the one that is gone are the next one's.
        for server, turns in ((target, 4), (other, 2)):
            for _ in range(turns):
                server.accept()[0].close()


def test_the_seed_decides_who_is_cut() -> None:
    def chosen(seed: int) -> list[int]:
        with fault_proxy(seed) as proxy, socket.create_server(("127.0.0.1", 0)) as server:
            link = proxy.link("target", server.getsockname()[1])
            clients = []
            for _ in range(6):
                clients.append(socket.create_connection(("127.0.0.1", link.port), TIMEOUT))
                expected = len(clients)
                wait_until(lambda: link.connections == expected, "the connection")  # noqa: B023
            counts = [link.cut(reset=True, share=0.5) for _ in range(3)]
            for client in clients:
                client.close()
            return counts

    assert chosen(1) == chosen(1)
    assert len({tuple(chosen(seed)) for seed in range(5)}) > 1
