"""A site under each server, and attackers of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.security.rig import Attacker, Target, make_people, make_site_env
from tests.servers import SERVERS, serve

PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "inactive", "deleted")


@pytest.fixture(scope="session")
def inhabited(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, site_env: Mapping[str, str]
) -> tuple[Path, dict[str, tuple[int, str]]]:
    """Put people into the reference project's SQLite file once per session; targets get copies."""
    database = Path(shutil.copy(migrated_sqlite, tmp_path_factory.mktemp("inhabited")))
    return database, make_people(make_site_env(site_env, database), *PEOPLE)


@pytest.fixture(scope="module", params=sorted(SERVERS))
def target(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    inhabited: tuple[Path, dict[str, tuple[int, str]]],
    site_env: Mapping[str, str],
) -> Iterator[Target]:
    """Run the reference project; a module's `SITE_SETTINGS` are its further settings."""
    directory = tmp_path_factory.mktemp("target")
    prepared, people = inhabited
    database = Path(shutil.copy(prepared, directory))
    env = make_site_env(site_env, database, **getattr(request.module, "SITE_SETTINGS", {}))
    with serve(request.param, directory=directory, env=env) as site:
        yield Target(site, env, people)
        assert "src/djwsbridge" not in site.log.partition("Traceback")[2]  # a file of ours


@pytest.fixture
def new_attacker(target: Target) -> Iterator[Callable[[], Attacker]]:
    """Return a function that makes somebody at another address."""
    made: list[Attacker] = []

    def make(address: str | None = None) -> Attacker:
        made.append(Attacker(target, address) if address else Attacker(target))
        return made[-1]

    yield make
    for attacker in made:
        attacker.leave()


@pytest.fixture
def attacker(new_attacker: Callable[[], Attacker]) -> Attacker:
    """Return somebody at an address of their own."""
    return new_attacker()
