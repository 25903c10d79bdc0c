"""Publishing: from wherever it is called, after the commit, written as Django REST framework writes."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.core import mail
from django.db import models, transaction
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.renderers import JSONRenderer

from djwsbridge import bridge, publish, runtime
from djwsbridge.durable import NewEvent
from djwsbridge.engine.memory import MemoryBus, MemoryEngine
from djwsbridge.protocol.codec import Codec
from djwsbridge.protocol.errors import PayloadError
from djwsbridge.protocol.frames import Heartbeat
from djwsbridge.routing import get_websocket_urlpatterns
from djwsbridge.utils import asend_ws_message, send_ws_message
from tests.servers import ROOT, TIMEOUT, child_environment, wait_until


class Server:
    """A node that serves in a thread of its own, as a server process would; user 7 is connected."""

    dialect = Codec([Heartbeat])
    write = None

    def __init__(self) -> None:
        self.got: list[str] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.node = self.run(self._start())

    def push(self, text: str) -> None:
        self.got.append(text)

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(TIMEOUT)

    async def _start(self) -> runtime.Runtime:
        node = runtime.Runtime(MemoryEngine(MemoryBus()))
        runtime._runtimes[self.loop] = node
        await node.start()
        await node.subscribe("user.7", self)
        return node

    def stop(self) -> None:
        self.run(self.node.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def data(self, count: int = 1) -> list[Any]:
        """Return the payloads of so many pushes, once they are there."""
        wait_until(lambda: len(self.got) >= count, f"{count} pushes")
        return [json.loads(text)["data"] for text in self.got]

    def data_so_far(self) -> list[Any]:
        """Return the payloads of all that was pushed before this call."""
        send_ws_message(7, {"marker": len(self.got)}, now=True)
        wait_until(lambda: self.got and '"marker"' in self.got[-1], "the marker")
        self.got.pop()
        return [json.loads(text)["data"] for text in self.got]


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


# -- from where ------------------------------------------------------------------------------------------------------


def test_from_a_thread_without_a_loop(server: Server) -> None:
    send_ws_message(7, {"n": 1})
    assert server.data() == [{"n": 1}]
    assert json.loads(server.got[0]) == {"push": "signal", "topic": "user.7", "data": {"n": 1}}


def test_on_several_topics_it_arrives_on_each(server: Server) -> None:
    server.run(server.node.subscribe("room.1", server))
    publish.publish(["user.7", "nobody.1", "room.1"], "signal", {"n": 1})
    assert server.data(2) == [{"n": 1}, {"n": 1}]
    assert [json.loads(text)["topic"] for text in server.got] == ["user.7", "room.1"]
    with pytest.raises(ValueError, match="no topic"):
        publish.publish(["user.7", "no topic"], "signal", {"n": 2})
    assert len(server.data_so_far()) == 2


def test_the_other_name_of_the_seed(server: Server) -> None:
    assert bridge.send_ws_message is send_ws_message
    assert bridge.asend_ws_message is asend_ws_message


async def test_from_async_code_by_a_plain_call(server: Server) -> None:
    send_ws_message(7, {"n": 1})
    assert await asyncio.to_thread(server.data) == [{"n": 1}]


async def test_from_async_code_awaited(server: Server) -> None:
    await asend_ws_message(7, {"n": 1})
    assert await asyncio.to_thread(server.data) == [{"n": 1}]


async def test_from_a_sync_view_under_an_async_server(server: Server) -> None:
    await sync_to_async(send_ws_message)(7, {"n": 1})
    assert await asyncio.to_thread(server.data) == [{"n": 1}]


def test_in_the_servers_own_loop(server: Server) -> None:
    async def push() -> None:
        send_ws_message(7, {"n": 1})
        await asend_ws_message(7, {"n": 2})
        send_ws_message(7, {"n": 3})

    server.run(push())
    assert server.data(3) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_from_many_threads_at_once_in_the_order_of_each(server: Server) -> None:
    def push(thread: int) -> None:
        for number in range(100):
            send_ws_message(7, {"thread": thread, "n": number})

    threads = [threading.Thread(target=push, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = server.data(800)
    for thread_number in range(8):
        mine = [data["n"] for data in got if data["thread"] == thread_number]
        assert mine == list(range(100))


PROJECT = """
SECRET_KEY = "a key for tests only, long enough for every algorithm in use"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "channels", "djwsbridge"]
DATABASES = {}
USE_TZ = True
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
"""
SETUP = """
import asyncio, django, os
os.environ["DJANGO_SETTINGS_MODULE"] = "pusher_settings"
django.setup()
from djwsbridge.utils import asend_ws_message, send_ws_message
"""


@pytest.fixture
def run_program(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that runs a program in a project without a database."""
    (tmp_path / "pusher_settings.py").write_text(PROJECT)

    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SETUP + code],
            cwd=tmp_path,
            env={**child_environment({}), "PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        [warning] = done.stderr.splitlines()
        assert warning.startswith("This push reaches nobody outside of this process"), done.stderr
        return done.stdout

    return run


PROGRAMS = {
    "sync": "send_ws_message(7, {'n': 1})",
    "now": "send_ws_message(7, {'n': 1}, now=True)",
    "async": "asyncio.run(asend_ws_message(7, {'n': 1}))",
    "plain call under a loop": """
async def main():
    send_ws_message(7, {'n': 1})
asyncio.run(main())
""",
    "both, twice": """
async def main():
    await asend_ws_message(7, {'n': 1})
    send_ws_message(7, {'n': 2})
for _ in range(2):
    asyncio.run(main())
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_project_without_a_database_can_push(
    name: str, run_program: Callable[[str], str]
) -> None:
    run_program(PROGRAMS[name])


def test_a_forked_child_can_push_after_its_parent_did(run_program: Callable[[str], str]) -> None:
    code = """
send_ws_message(7, {"from": "parent"})
child = os.fork()
if not child:
    send_ws_message(7, {"from": "child"})
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_program(code) == "0\n"


# -- to whom ---------------------------------------------------------------------------------------------------------


def make_user(key: object) -> Any:
    return get_user_model()(pk=key, username="bob")


@pytest.mark.parametrize(
    "user",
    [7, "7", " 7 ", make_user(7), make_user("7"), SimpleLazyObject(lambda: make_user(7))],
    ids=["key", "text", "spaces", "user", "user of a form", "request.user"],
)
async def test_a_user_may_be_given_in_many_ways(server: Server, user: object) -> None:
    await asend_ws_message(user, {"n": 1})
    send_ws_message(user, {"n": 2})
    assert await asyncio.to_thread(server.data, 2) == [{"n": 1}, {"n": 2}]


NOBODY = [
    (None, TypeError, "not for None"),
    (make_user(None), TypeError, "not for <User: bob>"),
    (AnonymousUser(), TypeError, "AnonymousUser"),
    (Group(pk=7, name="staff"), TypeError, "not for <Group: staff>"),
    (True, TypeError, "not for True"),
    (7.5, TypeError, "not for 7.5"),
    ("bob", ValueError, "'bob' cannot be the primary key of a User"),
    ("", ValueError, "'' cannot be the primary key"),
    (b"\xff", ValueError, "cannot be the primary key"),
    ([7], ValueError, "cannot be the primary key"),
    ("x" * 1000, ValueError, "'xxx"),
]


@pytest.mark.parametrize(("user", "error", "text"), NOBODY, ids=lambda value: repr(value)[:20])
async def test_what_is_no_user_fails_at_the_caller(
    user: object, error: type[Exception], text: str
) -> None:
    for function in (
        lambda: send_ws_message(user, {"n": 1}),
        lambda: publish.subscribe_user(user, "room.1"),
        lambda: publish.unsubscribe_user(user, "room.1"),
        lambda: publish.user_changed(user),
    ):
        with pytest.raises(error, match=text) as caught:
            function()
        assert len(str(caught.value)) < 200
    with pytest.raises(error, match=text):
        await asend_ws_message(user, {"n": 1})


@pytest.fixture
def uuid_users(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give the users of this project a UUID as their key."""
    with isolate_apps("tests"):

        class Person(models.Model):
            id = models.UUIDField(primary_key=True)

            class Meta:
                app_label = "tests"

            def __str__(self) -> str:
                return "a person"

    monkeypatch.setattr(publish, "get_user_model", lambda: Person)
    publish._has_integer_keys.cache_clear()
    yield Person
    publish._has_integer_keys.cache_clear()


def test_a_uuid_is_the_same_key_however_it_is_written(uuid_users: Any) -> None:
    key = uuid.UUID("0b7ad1a5-6a5a-4c39-9a52-d9c2ce2b1f4e")
    for user in (key, str(key), str(key).upper(), key.hex, uuid_users(pk=key)):
        assert publish.user_key(user) == key
    with pytest.raises(ValueError, match="'7' cannot be the primary key of a Person"):
        publish.user_key("7")


def test_the_kind_of_key_is_asked_for_again_when_a_test_changes_settings(
    settings: Any, uuid_users: Any
) -> None:
    assert not publish._has_integer_keys()
    settings.DJWSBRIDGE_ENGINE = "memory"
    assert publish._has_integer_keys.cache_info().currsize == 0


# -- whom it cannot reach --------------------------------------------------------------------------------------------


@pytest.fixture
def worker(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make this process one that has done nothing yet, and will not serve; return the settings."""
    monkeypatch.setattr(publish, "_serves", False)
    monkeypatch.setattr(publish, "_has_looked", False)
    monkeypatch.delattr(mail, "outbox")
    settings.DJWSBRIDGE_ENGINE = "memory"
    return settings


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "djwsbridge.publish"]


async def test_a_push_that_reaches_nobody_is_said_once(
    worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        publish.publish("room.1", "note", {})
        await asend_ws_message(7, {"n": 1})
    [text] = warnings(caplog)
    assert text.startswith("This push reaches nobody outside of this process: ")
    assert 'See "How to push" in the documentation, https://' in text


async def test_an_awaited_push_that_reaches_nobody_is_said_too(
    worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await publish.apublish("room.1", "note", {})
    assert len(warnings(caplog)) == 1


def test_what_the_library_tells_its_nodes_is_no_push(
    worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    publish.user_changed(7)
    publish.subscribe_user(7, "room.1")
    assert warnings(caplog) == []


def test_in_a_process_that_serves_a_push_may_reach_somebody(
    worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    get_websocket_urlpatterns()
    send_ws_message(7, {"n": 1})
    assert warnings(caplog) == []


def test_an_engine_that_connects_processes_reaches_them(
    worker: Any, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    worker.DJWSBRIDGE_ENGINE = "redis"
    send_ws_message(7, {"n": 1})
    assert server.data() == [{"n": 1}]
    assert warnings(caplog) == []


def test_in_a_test_nobody_is_to_be_reached(
    worker: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "outbox", [], raising=False)
    send_ws_message(7, {"n": 1})
    assert warnings(caplog) == []


# -- transactions ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_in_a_transaction_it_leaves_after_the_commit(server: Server) -> None:
    with transaction.atomic():
        send_ws_message(7, {"n": 1})
        assert server.data_so_far() == []
    assert server.data() == [{"n": 1}]


@pytest.mark.django_db(transaction=True)
def test_after_a_rollback_it_does_not_leave(server: Server) -> None:
    with transaction.atomic():
        send_ws_message(7, {"n": 1})
        transaction.set_rollback(True)
    assert server.data_so_far() == []


@pytest.mark.django_db(transaction=True)
def test_at_once_if_it_is_to_leave_now(server: Server) -> None:
    with transaction.atomic():
        send_ws_message(7, {"n": 1}, now=True)
        assert server.data() == [{"n": 1}]
        transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
def test_in_nested_transactions_it_follows_its_own(server: Server) -> None:
    with transaction.atomic():
        send_ws_message(7, {"n": 1})
        with transaction.atomic():
            send_ws_message(7, {"n": 2})
            transaction.set_rollback(True)
        with transaction.atomic():
            send_ws_message(7, {"n": 3})
        assert server.data_so_far() == []
    assert server.data(2) == [{"n": 1}, {"n": 3}]


@pytest.mark.django_db(transaction=True)
def test_a_failure_of_the_push_does_not_fail_what_was_committed(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(pushes: object) -> None:
        raise RuntimeError("no engine")

    with transaction.atomic():
        send_ws_message(7, {"n": 1})
        monkeypatch.setattr(runtime, "hand_over_all", fail)
    assert "no engine" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_sent_fails_at_the_caller_in_a_transaction_too(server: Server) -> None:
    with transaction.atomic():
        with pytest.raises(PayloadError):
            send_ws_message(7, {"x": object()})
        send_ws_message(7, {"n": 1})
    assert server.data() == [{"n": 1}]


class Transaction:
    """A database connection as far as it matters here."""

    def __init__(self) -> None:
        self.in_atomic_block = True
        self.waiting: list[Callable[[], None]] = []

    def on_commit(self, function: Callable[[], None], *, robust: bool) -> None:
        assert robust
        self.waiting.append(function)


def test_the_transaction_of_another_database_is_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Transaction()
    # Of this module alone: a thread that ends in this moment closes what `connections` has.
    monkeypatch.setattr(publish, "connections", SimpleNamespace(all=lambda **_: [other]))
    send_ws_message(7, {"n": 1})
    (function,) = other.waiting
    other.in_atomic_block = False
    assert server.data_so_far() == []
    function()
    assert server.data() == [{"n": 1}]


# -- payloads --------------------------------------------------------------------------------------------------------


class Colour(models.TextChoices):
    RED = "red", "Red"


class Size(models.IntegerChoices):
    BIG = 3, "Big"


class Plain(enum.Enum):
    ONE = "one"
    TWO = 2


UTC = dt.timezone.utc
VALUES = [
    dt.datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    dt.datetime(2026, 1, 2, 3, 4, 5, 678901),  # noqa: DTZ001  naive on purpose
    dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
    dt.date(2026, 1, 2),
    dt.time(3, 4, 5, 678901),
    dt.timedelta(days=1, milliseconds=1),
    uuid.UUID("0b7ad1a5-6a5a-4c39-9a52-d9c2ce2b1f4e"),
    Decimal("1.10"),
    Decimal("1E+3"),
    gettext_lazy("Hello"),
    Colour.RED,
    Size.BIG,
    (1, 2),
    {1: "a", None: "b", False: "c", 1.5: "d"},
    {Colour.RED: Colour.RED},
    b"bytes",
    "\u2028 \u00e9 \U0001f600 <script>",
    None,
    True,
    1.5,
    10**30,
    (number for number in range(3)),
]


@pytest.mark.parametrize("value", VALUES[:-1], ids=lambda value: type(value).__name__)
def test_a_value_arrives_as_rest_framework_renders_it(server: Server, value: object) -> None:
    send_ws_message(7, {"value": value, "in": [{"deep": value}]})
    rendered = JSONRenderer().render({"value": value, "in": [{"deep": value}]})
    assert server.data() == [json.loads(rendered)]


def test_a_generator_arrives_as_a_list(server: Server) -> None:
    send_ws_message(7, {"value": VALUES[-1]})
    assert server.data() == [{"value": [0, 1, 2]}]


@pytest.mark.parametrize(("member", "value"), [(Plain.ONE, "one"), (Plain.TWO, 2)])
def test_an_enum_arrives_as_its_value(server: Server, member: Plain, value: object) -> None:
    send_ws_message(7, {"value": member})
    assert server.data() == [{"value": value}]


@pytest.mark.django_db(transaction=True)
def test_the_values_of_a_queryset_arrive_as_a_list(server: Server) -> None:
    people = get_user_model().objects.order_by("pk")
    for name in ("ann", "bob"):
        get_user_model().objects.create(username=name)
    send_ws_message(7, {"people": people.values("username"), "n": people.values_list("username")})
    assert server.data() == [
        {"people": [{"username": "ann"}, {"username": "bob"}], "n": [["ann"], ["bob"]]}
    ]


class Unreadable:
    def __repr__(self) -> str:
        return "unreadable"


class Note(msgspec.Struct):
    text: str
    when: object = None


RECURSIVE: dict[str, Any] = {}
RECURSIVE["self"] = RECURSIVE


@pytest.mark.parametrize(
    "data",
    [
        {"x": Unreadable()},
        {"x": float("nan")},
        {"x": [float("inf")]},
        {"x": {Unreadable()}},
        {("a", "b"): 1},
        {"x": "\ud800"},
        {"\udfff": 1},
        {"x": b"\xff"},
        {"x": dt.time(1, 2, tzinfo=UTC)},
        {"x": 1j},
        RECURSIVE,
    ],
    ids=lambda data: repr(data)[:30],
)
async def test_what_cannot_be_written_fails_at_the_caller(data: dict[str, object]) -> None:
    with pytest.raises(PayloadError, match=r"This payload cannot be sent as JSON: ."):
        send_ws_message(7, data)
    with pytest.raises(TypeError, match=r"This payload cannot be sent as JSON: ."):
        await asend_ws_message(7, data)


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize(
    "send",
    [
        lambda data, durable: send_ws_message(7, data, durable=durable),
        lambda data, durable: asyncio.run(asend_ws_message(7, data, durable=durable)),
        lambda data, durable: publish.publish(["room.1", "room.2"], "note", data, durable=durable),
        lambda data, durable: asyncio.run(
            publish.apublish("user.7", "note", data, durable=durable)
        ),
        lambda data, _: publish.publish("user.7", "note", publish.encode(data)),
        lambda data, _: publish.publish("user.7", "note", data, now=True),
    ],
    ids=["push", "async push", "topics", "async topic", "ready JSON", "now"],
)
def test_what_is_too_large_fails_at_the_caller(
    server: Server, settings: Any, send: Callable[[object, bool], None], *, durable: bool
) -> None:
    settings.DJWSBRIDGE_PAYLOAD_BYTES = 1_000
    fits, too_large = {"blob": "é" * 494}, {"blob": "é" * 495}
    with pytest.raises(PayloadError, match=r"1001 bytes, and DJWSBRIDGE_PAYLOAD_BYTES allows 1000"):
        send(too_large, durable)
    publish.publish("user.7", "note", fits)
    assert server.data() == [fits]


@pytest.mark.django_db(transaction=True)
def test_an_event_that_is_too_large_takes_its_transaction_back(settings: Any) -> None:
    settings.DJWSBRIDGE_PAYLOAD_BYTES = 1_000
    events = [
        NewEvent("room.1", "note", lambda seq, _now: {"seq": seq}),
        NewEvent("room.1", "note", lambda _seq, _now: {"blob": "x" * 3_000}),
    ]
    with pytest.raises(PayloadError, match="DJWSBRIDGE_PAYLOAD_BYTES"):
        publish.publish_events(events)
    assert [event.seq for event in publish.publish_events(events[:1])] == [1]


@pytest.mark.parametrize("raw", [b"", b"{", b"{'a': 1}", b"NaN", b'"\xff"'])
@pytest.mark.parametrize("durable", [False, True])
async def test_ready_json_that_is_none_fails_at_the_caller(raw: bytes, *, durable: bool) -> None:
    with pytest.raises(PayloadError, match="cannot be sent as JSON"):
        await publish.apublish("user.7", "note", msgspec.Raw(raw), durable=durable)


@pytest.mark.parametrize("topic", ["", "room 1", "x" * 1_500_000])
def test_what_cannot_be_a_topic_is_not_subscribed_to(topic: str) -> None:
    for act in (publish.subscribe_user, publish.unsubscribe_user):
        with pytest.raises(ValueError, match="cannot be a topic") as error:
            act(7, topic)
        assert len(str(error.value)) < 400


@pytest.mark.parametrize("data", [None, [], "text", 5, [("a", 1)]])
async def test_what_is_no_dict_fails_at_the_caller(data: Any) -> None:
    with pytest.raises(TypeError, match="is a dict, not"):
        send_ws_message(7, data)
    with pytest.raises(TypeError, match="is a dict, not"):
        await asend_ws_message(7, data)


def test_a_struct_is_a_payload_too(server: Server) -> None:
    publish.publish("user.7", "note", Note("hi"))
    assert server.data() == [{"text": "hi", "when": None}]
    assert json.loads(server.got[0])["push"] == "note"


@pytest.mark.parametrize("note", [Note("\ud800"), Note("hi", when=object())])
async def test_a_struct_that_cannot_be_written_fails_at_the_caller(note: Note) -> None:
    with pytest.raises(PayloadError):
        publish.publish("user.7", "note", note)
    with pytest.raises(PayloadError):
        await publish.apublish("user.7", "note", note)


@pytest.mark.parametrize("topic", ["", "room 1", "room.1\n", "x" * 81, "r\u00e9", "a*b", "a!b"])
async def test_a13_what_cannot_be_a_topic_fails_at_the_caller(topic: str) -> None:
    with pytest.raises(ValueError, match="cannot be a topic"):
        publish.publish(topic, "note", {})
    with pytest.raises(ValueError, match="cannot be a topic"):
        await publish.apublish(topic, "note", {})


def test_a12_keys_of_the_protocol_in_the_data_stay_in_the_data(server: Server) -> None:
    data = {"push": "error", "topic": "user.8", "seq": 5, "id": 1, "sender": 9}
    send_ws_message(7, data)
    assert server.data() == [data]
    assert json.loads(server.got[0]).keys() == {"push", "topic", "data"}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters(codec=None))
        | st.datetimes()
        | st.uuids()
        | st.decimals()
        | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=8,
    )
)
def test_any_payload_is_written_or_refused(value: object) -> None:
    try:
        raw = publish.encode({"value": value})
    except PayloadError:
        return
    json.loads(bytes(raw), parse_constant=pytest.fail)
