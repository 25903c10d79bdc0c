from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection

from djwsbridge.chat import services
from djwsbridge.chat.models import NameSkeleton
from djwsbridge.chat.services import accounts
from djwsbridge.chat.store import save_skeletons
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LOOK_ALIKE = "\u0430lice"  # with a Cyrillic a


def refused(name: str) -> bool:
    try:
        services.check_username(name=name)
    except CommandError as error:
        return error.code is ErrorCode.BAD_NAME
    return False


def test_a_name_that_looks_like_an_existing_one_is_refused(alice: User) -> None:
    assert refused(LOOK_ALIKE)
    assert not refused("anna")


def test_a_renamed_user_leaves_the_old_name_free(alice: User) -> None:
    assert refused(LOOK_ALIKE)
    User.objects.filter(pk=alice.pk).update(username="anna")
    assert not refused(LOOK_ALIKE)
    assert refused("\u0430nna")


def test_skeletons_are_stored_in_batches(
    alice: User, bob: User, carol: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "BATCH", 2)
    assert refused("c\u0430rol")
    assert NameSkeleton.objects.count() == 3
    assert str(NameSkeleton.objects.get(user=alice)) == "alice"


@pytest.mark.parametrize("blank", ["\u3164", "\u2800", "\u2065", "\U000e0080", "\u034f", " "])
def test_a_name_that_differs_by_what_is_not_seen_is_refused(alice: User, blank: str) -> None:
    assert refused(f"al{blank}ice")
    User.objects.filter(pk=alice.pk).update(username=f"alice{blank}")
    assert refused("alice")


def test_the_migration_forgets_skeletons_that_hold_a_blank(alice: User, bob: User) -> None:
    migration = import_module("djwsbridge.chat.migrations.0004_skeletons_without_blanks")
    User.objects.filter(pk=bob.pk).update(username="bob\u3164")
    before = [(alice.pk, "alice", "alice"), (bob.pk, "bob\u3164", "bob\u3164")]
    save_skeletons(before)
    assert not refused("bob")
    migration.forget(apps, connection.schema_editor())
    assert NameSkeleton.objects.get().user == alice
    assert refused("bob")


def test_the_setting_turns_it_off(alice: User, settings: Any) -> None:
    settings.DJWSBRIDGE_REFUSE_LOOKALIKE_NAMES = False
    assert not refused(LOOK_ALIKE)


def test_queries(alice: User, django_assert_num_queries: Any) -> None:
    services.check_username(name="anna")
    with django_assert_num_queries(2):
        services.check_username(name="bea")
