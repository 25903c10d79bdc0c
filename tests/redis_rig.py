"""Several Redis servers that belong together: a primary with a replica and a sentinel, and a cluster."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis, RedisError

from tests.servers import Process, RedisServer, find_binary, free_port, wait_until

__all__ = [
    "SERVICE",
    "SentinelSite",
    "bring_back",
    "guarded_sentinel",
    "make_certificate",
    "redis_cluster",
    "redis_with_sentinel",
]

SERVICE = "mymaster"
SLOTS = 16_384  # of a cluster
SENTINEL = """\
bind 127.0.0.1
port {port}
dir {directory}
sentinel monitor {service} 127.0.0.1 {primary} 1
sentinel down-after-milliseconds {service} 1000
sentinel failover-timeout {service} 4000
"""


TLS = """\
port 0
tls-port {port}
tls-cert-file {certificate}
tls-key-file {key}
tls-ca-cert-file {certificate}
tls-auth-clients no
tls-replication yes
"""


class _Sentinel(Process):
    """A sentinel that decides alone."""

    def __init__(
        self, directory: Path, primary: int, *, password: str = "", certificate: Path | None = None
    ) -> None:
        self.port = free_port()
        config = directory / "sentinel.conf"
        text = SENTINEL.format(
            port=self.port, directory=directory, service=SERVICE, primary=primary
        )
        if password:
            text += f"requirepass {password}\n"
        if certificate is not None:
            key = certificate.with_suffix(".key")
            text += TLS.format(port=self.port, certificate=certificate, key=key)
        config.write_text(text)
        binary = find_binary("redis-server", package="redis-server")
        super().__init__([str(binary), str(config), "--sentinel"], log=directory / "sentinel.log")


@dataclass
class SentinelSite:
    """Two servers, one of them the primary, and who watches them.

    Args:
        servers: in no order.
        sentinel: who says which is the primary.
    """

    servers: tuple[RedisServer, RedisServer]
    sentinel: Process
    port: int

    @property
    def url(self) -> str:
        """Return where the engine finds the primary."""
        return f"redis+sentinel://127.0.0.1:{self.port}/{SERVICE}"

    @property
    def primary(self) -> RedisServer:
        """Return the server that the sentinel calls the primary."""
        found = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        assert isinstance(found, list)
        port = int(found[1])
        return next(server for server in self.servers if server.port == port)

    def ask(self, *command: str) -> object:
        """Return what the sentinel answers."""
        with Redis(port=self.port, decode_responses=True) as client:
            return client.execute_command(*command)

    def fail_over(self) -> RedisServer:
        """Let the replica become the primary, and return it."""
        before = self.primary
        self.ask("SENTINEL", "FAILOVER", SERVICE)
        wait_until(lambda: self.primary is not before, "another primary")
        return self.primary

    def has_replica(self) -> bool:
        """Say whether the primary has a replica that follows, and the sentinel knows it."""
        with contextlib.suppress(RedisError), Redis(port=self.primary.port) as client:
            follows = client.info("replication").get("slave0", {}).get("state") == "online"
            known = self.ask("SENTINEL", "MASTER", SERVICE)
            assert isinstance(known, dict | list)
            fields = (
                known
                if isinstance(known, dict)
                else dict(zip(known[::2], known[1::2], strict=True))
            )
            return follows and int(fields["num-slaves"]) > 0 and fields["flags"] == "master"
        return False


@contextmanager
def redis_with_sentinel(directory: Path) -> Iterator[SentinelSite]:
    """Run a primary, a replica and a sentinel until the block ends."""
    with ExitStack() as stack:
        primary = RedisServer(directory)
        replica = RedisServer(directory, options=("--replicaof", "127.0.0.1", str(primary.port)))
        for server in (primary, replica):
            stack.callback(server.stop)
            server.start()
        sentinel = _Sentinel(directory, primary.port)
        stack.callback(sentinel.stop)
        sentinel.start()
        site = SentinelSite((primary, replica), sentinel, sentinel.port)
        sentinel.wait_ready(lambda: _answers(sentinel.port) and site.has_replica())
        yield site


def make_certificate(directory: Path) -> Path:
    """Make a certificate of 127.0.0.1 that vouches for itself, and return its file; its key lies beside it."""
    openssl = find_binary("openssl", package="openssl")
    certificate = directory / "redis.pem"
    subprocess.run(
        [
            *(str(openssl), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-keyout", str(certificate.with_suffix(".key")), "-out", str(certificate)),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate


@contextmanager
def guarded_sentinel(
    directory: Path, *, password: str = "", certificate: Path | None = None
) -> Iterator[int]:
    """Run a primary and a sentinel that wants a password, or TLS as its primary does; give the sentinel's port."""
    with ExitStack() as stack:
        options: tuple[str, ...] = ()
        port = free_port()
        if certificate is not None:
            options = (
                *("--tls-port", str(port), "--tls-auth-clients", "no"),
                *("--tls-cert-file", str(certificate), "--tls-ca-cert-file", str(certificate)),
                *("--tls-key-file", str(certificate.with_suffix(".key"))),
            )
        primary = RedisServer(directory, options=options)
        sentinel = _Sentinel(
            directory,
            port if certificate else primary.port,
            password=password,
            certificate=certificate,
        )
        for server in (primary, sentinel):
            stack.callback(server.stop)
            server.start()
        secure = {"ssl": True, "ssl_ca_certs": str(certificate)} if certificate else {}
        client = Redis(port=sentinel.port, host="127.0.0.1", password=password or None, **secure)
        sentinel.wait_ready(lambda: _knows_primary(client))
        client.close()
        yield sentinel.port


def _knows_primary(client: Redis) -> bool:
    with contextlib.suppress(RedisError):
        return bool(client.execute_command("SENTINEL", "MASTERS"))
    return False


@contextmanager
def redis_cluster(directory: Path) -> Iterator[list[RedisServer]]:
    """Run a cluster of three servers until the block ends."""
    with ExitStack() as stack:
        servers = []
        for number in range(3):
            folder = directory / f"node-{number}"
            folder.mkdir()
            port = _cluster_port()
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
            server = RedisServer(folder, options=options, port=port)
            stack.callback(server.stop)
            server.start()
            servers.append(server)
        _join(servers)
        yield servers


def bring_back(servers: list[RedisServer]) -> None:
    """Start all servers of a cluster that were killed, and return when they are one again."""
    for server in servers:
        server.start()
    _wait_until_whole(servers)


def _join(servers: list[RedisServer]) -> None:
    """Let servers meet and share the slots."""
    share = -(-SLOTS // len(servers))
    for number, server in enumerate(servers):
        with Redis(port=server.port) as client:
            first, last = number * share, min(SLOTS, (number + 1) * share) - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
    _wait_until_whole(servers)


def _wait_until_whole(servers: list[RedisServer]) -> None:
    wait_until(lambda: all(_is_whole(server.port) for server in servers), "the cluster")


def _is_whole(port: int) -> bool:
    with Redis(port=port, decode_responses=True) as client:
        info = str(client.execute_command("CLUSTER", "INFO"))
        return "cluster_state:ok" in info and f"cluster_slots_ok:{SLOTS}" in info


def _cluster_port() -> int:
    """Return a free port whose bus port, 10,000 higher, is one as well."""
    while True:
        port = free_port()
        if port < 55_000:
            return port


def _answers(port: int) -> bool:
    with contextlib.suppress(RedisError), Redis(port=port) as client:
        return bool(client.ping())
    return False
