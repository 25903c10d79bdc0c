"""nginx with nchan: every socket publishes to its room and hears it. It authenticates nobody."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.generator import MESSAGE, Lines
from benchmarks.harness.servers import children_of, server
from benchmarks.harness.world import World
from benchmarks.systems import Load, Serving, System
from tests.servers import free_port

__all__ = ["SYSTEMS", "Nchan"]

_MODULES = (
    Path("/usr/lib/nginx/modules/ngx_nchan_module.so"),
    Path("/usr/share/nginx/modules/ngx_nchan_module.so"),
)
_CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log warn;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    nchan_shared_memory_size 256M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/room/(\\d+)$ {{
            nchan_pubsub websocket;
            nchan_channel_id $1;
            nchan_store_messages off;
        }}
    }}
}}
"""


class Nchan(System):
    """A publish/subscribe server in C."""

    name = "nchan"
    title = "nginx with nchan (C)"
    loads = frozenset({"fanout", "idle"})

    def missing(self) -> str | None:
        """Return what has to be installed."""
        found = _nginx() and any(module.exists() for module in _MODULES)
        return None if found else "apt-get install libnginx-mod-nchan"

    @contextmanager
    def serve(self, world: World, load: Load) -> Iterator[Serving]:
        """Run nginx with one worker."""
        port = free_port()
        directory = world.directory / f"nginx-{port}"
        directory.mkdir()
        module = next(module for module in _MODULES if module.exists())
        path = directory / "nginx.conf"
        path.write_text(_CONFIGURATION.format(module=module, directory=directory, port=port))
        command = [str(_nginx()), "-p", str(directory), "-c", str(path)]
        with server(command, port=port, directory=world.directory) as process:
            yield Serving([port], children_of(process.pid))

    def client(self, load: Load) -> Lines:
        """Return what a client says."""
        return [("path", "/room/{room}"), ("publish", MESSAGE)]


def _nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")


SYSTEMS = [Nchan()]
