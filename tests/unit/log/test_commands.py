"""The commands for the people who run a site, and what the log says of its database."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError as ManagementError
from django.db import connection, transaction
from django.utils import timezone

from djwsbridge.durable import NewEvent
from djwsbridge.log.log import Log
from djwsbridge.log.models import Event, Topic

pytestmark = [pytest.mark.database, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def events() -> None:
    with transaction.atomic():
        Log().append([NewEvent(topic, "thing.done", lambda seq, _: {"n": seq}) for topic in "aab"])


def test_prune_deletes_what_is_old_and_says_how_much(capsys: Any, settings: Any):
    Event.objects.filter(seq=1).update(created=timezone.now() - dt.timedelta(days=8))
    call_command("djwsbridge_prune")
    assert capsys.readouterr().out == "0 events older than 30 days deleted.\n"
    settings.DJWSBRIDGE_LOG_DAYS = 7
    call_command("djwsbridge_prune")
    assert capsys.readouterr().out == "2 events older than 7 days deleted.\n"
    call_command("djwsbridge_prune", "--days=0")
    assert not Event.objects.exists()
    assert Topic.objects.get(name="a").seq == 2  # numbers go on where they were
    with pytest.raises(ManagementError, match="negative"):
        call_command("djwsbridge_prune", "--days=-1")


def test_new_epoch_renews_the_named_topics_or_all(capsys: Any):
    before = dict(Topic.objects.values_list("name", "epoch"))
    call_command("djwsbridge_new_epoch", "a")
    assert capsys.readouterr().out == "1 topics have a new epoch.\n"
    after = dict(Topic.objects.values_list("name", "epoch"))
    assert after["a"] != before["a"]
    assert after["b"] == before["b"]
    call_command("djwsbridge_new_epoch", "--all")
    assert dict(Topic.objects.values_list("name", "epoch"))["b"] != before["b"]


@pytest.mark.parametrize("arguments", [[], ["a", "--all"]])
def test_new_epoch_wants_to_be_told_which(arguments: list[str]):
    with pytest.raises(ManagementError, match="--all"):
        call_command("djwsbridge_new_epoch", *arguments)


def test_scrub_erases_the_content_and_keeps_the_number(capsys: Any):
    call_command("djwsbridge_scrub", "a", "1")
    assert Log().read("a", after=0).frames == [
        '{"push":"thing.done","topic":"a","seq":1,"data":{"scrubbed":true}}',
        '{"push":"thing.done","topic":"a","seq":2,"data":{"n":2}}',
    ]
    assert capsys.readouterr().out == "1 events of the log scrubbed, 0 messages erased.\n"
    with pytest.raises(ManagementError, match="no such events"):
        call_command("djwsbridge_scrub", "a", "3")


@pytest.mark.django_db(transaction=True)  # SQLite changes nothing of this inside a transaction
def test_a_database_that_forgets_is_called_so():
    settings = {
        "sqlite": [("PRAGMA synchronous=NORMAL", "synchronous", "PRAGMA synchronous=FULL")],
        "postgresql": [
            ("SET synchronous_commit=off", "synchronous_commit", "SET synchronous_commit=on")
        ],
    }
    for weaken, word, repair in settings[connection.vendor]:
        with connection.cursor() as cursor:
            cursor.execute(weaken)
            try:
                assert any(word in sentence for sentence in Log().weaknesses())
            finally:
                cursor.execute(repair)
            assert not any(word in sentence for sentence in Log().weaknesses())
