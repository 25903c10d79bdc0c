"""Groups and memberships: create, find, list, join, leave."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError

from djwsbridge.chat import names, store
from djwsbridge.chat.names import room_id_of, room_topic
from djwsbridge.chat.services.access import (
    account_must_last,
    enter_room,
    event,
    require_member,
    room_seq,
    view_room,
)
from djwsbridge.chat.services.departures import left_events
from djwsbridge.chat.services.transactions import one_transaction
from djwsbridge.chat.values import MemberChange, Members, RoomList, RoomView
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import MAX_INTEGER
from djwsbridge.publish import publish_events, unsubscribe_user

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = [
    "create_room",
    "find_room",
    "find_topic",
    "join_room",
    "leave_room",
    "list_members",
    "list_rooms",
    "list_topics",
    "may_subscribe",
]

OPEN_GROUPS_LISTED = 200  # groups to join, besides one's own rooms; a longer list helps nobody
MEMBERS_LISTED = 1_000  # the size of room that the product is made for


def create_room(*, actor: AbstractBaseUser, title: str) -> RoomView:
    """Make an open group that the actor owns.

    Raises:
        CommandError: `bad_name`, `conflict` when a group has this title, or `revoked` when the
            actor's account was deleted a moment ago.
    """
    title = names.check_title(title)
    key = names.title_key(title)
    slugs = names.slug_candidates(title)
    while True:
        slug = next(slugs)
        try:
            with one_transaction():
                room_id = store.add_group(title=title, key=key, slug=slug, owner=actor)
                room, joined = enter_room(actor, room_id)
                publish_events([joined])
                return room
        except IntegrityError:
            if store.title_exists(key):
                raise CommandError(ErrorCode.CONFLICT, "A room has this name.") from None
            if store.slug_exists(slug):
                continue
            with account_must_last(actor):
                raise


def find_room(*, actor: AbstractBaseUser, name: str) -> RoomView:
    """Return the room that a slug, or a group's exact title, names.

    Raises:
        CommandError: `not_found` when the actor may not know of such a room.
    """
    return view_room(actor, store.find_room_id(unicodedata.normalize("NFC", name)))


def find_topic(*, name: str) -> str:
    """Return the topic of the room that a name stands for; one that nobody uses when there is none.

    It says nothing about access: see `find_room`.
    """
    return room_topic(store.find_room_id(unicodedata.normalize("NFC", name)) or 0)


def list_rooms(*, actor: AbstractBaseUser, ids: Sequence[int] | None = None) -> RoomList:
    """Return the actor's rooms and the groups that they may join; of these, only those with some ids when told."""
    if ids is not None:
        known = [room_id for room_id in ids if room_id <= MAX_INTEGER]
        return RoomList(store.view_rooms(actor, known), more=False)
    return store.list_rooms(actor, open_limit=OPEN_GROUPS_LISTED)


def join_room(*, actor: AbstractBaseUser, room_id: int) -> RoomView:
    """Become a member of a group, its owner if nobody is there; nothing happens to one who is.

    Raises:
        CommandError: `not_found` when there is no such group, `revoked` when the actor's account was deleted a moment
            ago.
    """
    with account_must_last(actor):
        return _join(actor, room_id)


@one_transaction()
def _join(actor: AbstractBaseUser, room_id: int) -> RoomView:
    if not store.lock_group(room_id):
        raise CommandError(ErrorCode.NOT_FOUND)
    if not store.add_member(actor, room_id, last_seq=room_seq(room_id)):
        return view_room(actor, room_id)
    store.pass_on_ownership(room_id)
    room, joined = enter_room(actor, room_id)
    change = MemberChange(room_id, store.user_ref(actor))
    publish_events([joined, event(room_topic(room_id), "member.joined", change)])
    return room


@one_transaction()
def leave_room(*, actor: AbstractBaseUser, room_id: int) -> None:
    """Give up the membership of a group; the actor's devices stop listening to it.

    When the last owner leaves, the first admin becomes one, else who is there for longest.

    Raises:
        CommandError: `not_found` when the actor is no member, `forbidden` for a direct room.
    """
    is_group = store.lock_group(room_id)
    access = require_member(actor, room_id)
    if not is_group:
        raise CommandError(ErrorCode.FORBIDDEN)
    store.remove_member(access)
    store.pass_on_ownership(room_id)
    unsubscribe_user(actor.pk, room_topic(room_id))
    publish_events(left_events(room_id, actor))


def list_members(*, actor: AbstractBaseUser, room_id: int) -> Members:
    """Return the members of one of the actor's rooms.

    Raises:
        CommandError: `not_found`.
    """
    require_member(actor, room_id)
    members = store.list_members(room_id, limit=MEMBERS_LISTED)
    return Members(members, count_members(room_id, listed=len(members)))


def count_members(room_id: int, *, listed: int) -> int:
    """Return how many members a room has, of whom so many were listed; asks only if the list may have ended early."""
    return listed if listed < MEMBERS_LISTED else store.count_members(room_id)


def list_topics(*, actors: Sequence[AbstractBaseUser]) -> dict[Any, list[str]]:
    """Return the topics of the rooms of each actor, by key: what each of their connections listens to."""
    found = store.list_room_ids(actors)
    return {key: [room_topic(room_id) for room_id in room_ids] for key, room_ids in found.items()}


def may_subscribe(*, actor: AbstractBaseUser, topic: str) -> bool:
    """Say whether the actor may listen to a room's topic: members may."""
    room_id = room_id_of(topic)
    return room_id > 0 and store.find_access(actor, room_id) is not None
