from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from djwsbridge.chat import services
from djwsbridge.chat.models import NameSkeleton
from djwsbridge.chat.services import accounts
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


def test_the_setting_turns_it_off(alice: User, settings: Any) -> None:
    settings.DJWSBRIDGE_REFUSE_LOOKALIKE_NAMES = False
    assert not refused(LOOK_ALIKE)


def test_queries(alice: User, django_assert_num_queries: Any) -> None:
    services.check_username(name="anna")
    with django_assert_num_queries(2):
        services.check_username(name="bea")
