"""Server processes on one database with an engine of one process: what their operators read."""

from __future__ import annotations

from contextlib import ExitStack

from tests.conftest import StartSite
from tests.integration.chat.conftest import Person
from tests.servers import Site, run_manage, wait_until

ERROR = "Another server process of this site runs"
COUNT = (
    "from djwsbridge.log.models import Topic;"
    "print(Topic.objects.filter(name='djwsbridge.servers').values_list('seq', flat=True).first() or 0)"
)
PUSH = "from djwsbridge.utils import send_ws_message; send_ws_message(1, {}, durable=True)"


def log_of(site: Site) -> str:
    return site.log


def looks(site: Site) -> int:
    return int(run_manage("shell", "-c", COUNT, env=site.env).split()[-1])


def test_two_servers_that_cannot_hear_each_other_say_so(
    start_site: StartSite, sqlite_url: str
) -> None:
    env = {"DATABASE_URL": sqlite_url, "DJANGO_SETTINGS_MODULE": "tests.settings_neighbours"}
    with ExitStack() as stack:
        one = start_site("fast", env=env)
        Person(one, "alice", stack).connect()
        run_manage("shell", "-c", PUSH, env=one.env)
        wait_until(lambda: looks(one) > 5, "some looks")
        assert ERROR not in log_of(one)
        other = start_site("uvicorn", env=env)
        Person(other, "bob", stack).connect()
        for site in (one, other):
            wait_until(lambda site=site: ERROR in log_of(site), "the error")
            assert log_of(site).count(ERROR) == 1
            assert "DJWSBRIDGE_ENGINE" in log_of(site)
