"""Tickets: what the tests of whole sites do not reach."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.transport.auth.identity import fingerprint_of
from djwsbridge.transport.auth.ticket import issue_ticket, redeem_ticket

OLD, NEW = (
    "an old key, long enough for every algorithm",
    "a new key, long enough for every algorithm",
)


@pytest.mark.database
@pytest.mark.django_db
def test_a_ticket_of_a_server_with_the_old_key_is_redeemed(settings: Any) -> None:
    alice = User.objects.create_user("alice", password="correct horse")
    settings.SECRET_KEY = OLD
    tickets = [issue_ticket(alice, fingerprint=fingerprint_of(alice)) for _ in "12"]
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    assert redeem_ticket(tickets.pop()).user == alice
    alice.set_password("another horse")
    alice.save()
    with pytest.raises(CloseConnection) as caught:
        redeem_ticket(tickets.pop())
    assert caught.value.error.code is ErrorCode.REVOKED
