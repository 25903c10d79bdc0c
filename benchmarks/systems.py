"""Who takes part. Each system says what it lacks, how it is started, and how a client speaks to it."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from benchmarks.harness.generator import Lines
from benchmarks.harness.world import World
from tests.servers import Process

__all__ = ["Load", "Serving", "System", "find_systems", "system_names"]

#: What clients do: fill a room, write to one other, have messages stored, or only be there.
Load = Literal["fanout", "unicast", "stored", "idle"]


@dataclass(frozen=True)
class Serving:
    """A system that runs.

    Attributes:
        ports: where clients connect, in turn.
        pids: the processes whose memory and processor time count.
        processes: those that can be killed and started again, where that is asked of the system.
    """

    ports: Sequence[int]
    pids: Sequence[int]
    processes: Sequence[Process] = ()


class System(abc.ABC):
    """One system under load."""

    #: How it is called on the command line.
    name: str
    #: How it is called in tables.
    title: str
    #: What it can do.
    loads: frozenset[Load] = frozenset({"fanout", "unicast", "idle"})

    def missing(self) -> str | None:
        """Return what has to be installed, if anything; makes ready what can be made."""
        return None

    def site(self, load: Load) -> str:
        """Return the kind of world that it works on; see `benchmarks.harness.world.World`."""
        return "groups"

    @abc.abstractmethod
    @contextmanager
    def serve(self, world: World, load: Load) -> Iterator[Serving]:
        """Run it on its core until the block ends."""

    @abc.abstractmethod
    def client(self, load: Load) -> Lines:
        """Return the lines of a scenario that say how a client connects, publishes, and knows what it gets."""


def all_systems() -> list[System]:
    """Return every system, ours first."""
    from benchmarks.peers import (
        centrifuge,
        floor,
        nchan,
        ordinary,
        socketio_node,
        socketio_python,
        ws_node,
    )
    from benchmarks.sites import ours

    return [
        *ours.SYSTEMS,
        *(one for peer in (ordinary, socketio_python, socketio_node) for one in peer.SYSTEMS),
        *(one for peer in (ws_node, nchan, centrifuge, floor) for one in peer.SYSTEMS),
    ]


def system_names() -> list[str]:
    """Return the names of all systems."""
    return [system.name for system in all_systems()]


def find_systems(
    load: Load, wanted: Sequence[str] | None = None
) -> tuple[list[System], dict[str, str]]:
    """Return the systems that can take part in a load, and what the others lack.

    Args:
        load: what they have to do.
        wanted: names; None for all.
    """
    able = [one for one in all_systems() if load in one.loads]
    asked = [one for one in able if wanted is None or one.name in wanted]
    lacking = {one.title: what for one in asked if (what := one.missing()) is not None}
    return [one for one in asked if one.title not in lacking], lacking
