"""Start a peer that runs on Node.js."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness.build import HERE, install_npm, node_modules
from benchmarks.harness.servers import server
from benchmarks.harness.world import World
from benchmarks.systems import Serving
from tests.servers import free_port

__all__ = ["missing_package", "serve_node"]


def missing_package(name: str) -> str | None:
    """Return what has to be installed for a package of npm; installs the package itself."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node.js with npm: apt-get install nodejs npm"
    if not (node_modules() / name).exists():
        try:
            install_npm()
        except RuntimeError as error:
            return f"npm ci: {str(error).splitlines()[-1]}"
    return None


@contextmanager
def serve_node(script: str, world: World) -> Iterator[Serving]:
    """Run a script of this folder until the block ends."""
    port = free_port()
    command = ["node", str(HERE / "peers" / script), str(port)]
    env = {**world.env, "BENCH_NPM": str(node_modules().parent), "NODE_ENV": "production"}
    with server(command, port=port, directory=world.directory, env=env) as process:
        yield Serving([port], [process.pid])
