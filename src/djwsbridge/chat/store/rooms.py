"""Queries about rooms, and rooms as one user sees them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Exists, IntegerField, OuterRef, QuerySet, Subquery

from djwsbridge.chat.addresses import settled_url
from djwsbridge.chat.models import Membership, Message, Role, Room
from djwsbridge.chat.models.room import DIRECT_KEY_LENGTH
from djwsbridge.chat.names import room_topic, title_key
from djwsbridge.chat.store.database import rows_of
from djwsbridge.chat.store.messages import newest_messages
from djwsbridge.chat.store.users import DELETED_USER, user_ref
from djwsbridge.chat.values import MessageView, RoomKind, RoomList, RoomView, UserRef
from djwsbridge.durable import installed_log
from djwsbridge.protocol.topics import wire_id

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = [
    "add_group",
    "clear_log",
    "find_direct",
    "find_room_id",
    "list_rooms",
    "lock_group",
    "lock_rooms",
    "make_direct",
    "recent_directs",
    "room_seqs",
    "room_view",
    "slug_exists",
    "title_exists",
    "view_rooms",
]

# Messages of a room that are counted as unread: who comes back after a year waits no longer than others.
UNREAD_COUNTED = 1_000


def find_room_id(name: str) -> int | None:
    """Return the id of the room with this slug, or else of the group with this very title."""
    if "\0" in name:  # PostgreSQL takes no such text
        return None
    # Two look-ups by an index each. A title has none, and its key may be that of a title in another case.
    by_slug = rows_of(Room).filter(slug=name)
    by_title = rows_of(Room).filter(title_key=title_key(name), title=name)
    for rooms in (by_slug, by_title):
        for room_id in rooms.order_by().values_list("id", flat=True):
            return room_id
    return None


def lock_group(room_id: int) -> bool:
    """Let nobody else join or leave a group until the transaction ends; False when there is none."""
    groups = rows_of(Room).filter(id=room_id, kind=RoomKind.GROUP.value)
    # No stronger: whoever sends has the topic, which comes next here, and at the commit must see that there is a room.
    locked = groups.select_for_update(no_key=True)
    return locked.values_list("id", flat=True).first() is not None


def lock_rooms(room_ids: Iterable[int]) -> None:
    """Let nothing happen in rooms until the transaction ends: no join and leaving, and no event in the log.

    Who changes a right takes this lock before the commit, and who uses one looks at it under the lock.
    """
    ids = sorted(room_ids)
    if not ids:
        return
    rooms = rows_of(Room).filter(id__in=ids).order_by("id").select_for_update(no_key=True)
    list(rooms.values_list("id"))
    log = installed_log()
    if log is not None:
        log.lock(map(room_topic, ids))


def clear_log(room_id: int) -> None:
    """Delete the events of a room from the log."""
    log = installed_log()
    if log is not None:
        log.clear(room_topic(room_id))


def title_exists(key: str) -> bool:
    """Say whether a group has a title with this key."""
    return rows_of(Room).filter(title_key=key).exists()


def slug_exists(slug: str) -> bool:
    """Say whether a room has this slug."""
    return rows_of(Room).filter(slug=slug).exists()


def add_group(*, title: str, key: str, slug: str, owner: AbstractBaseUser) -> int:
    """Store a group with its owner and return its id.

    Raises:
        IntegrityError: the title or the slug is taken; also at the commit, when the owner's account is gone.
    """
    room = rows_of(Room).create(
        kind=RoomKind.GROUP.value, title=title, title_key=key, slug=slug, created_by_id=owner.pk
    )
    rows_of(Membership).create(room=room, user_id=owner.pk, role=Role.OWNER)
    return room.id


def find_direct(actor: AbstractBaseUser, peer: AbstractBaseUser) -> int | None:
    """Return the id of the direct room of two users, or None."""
    key = _direct_key(actor, peer)
    return rows_of(Room).filter(direct_key=key).values_list("id", flat=True).first()


def make_direct(actor: AbstractBaseUser, peer: AbstractBaseUser) -> int:
    """Store the direct room of two users (or of one with themselves) and return its id.

    Raises:
        IntegrityError: it exists.
    """
    room = rows_of(Room).create(
        kind=RoomKind.DIRECT.value,
        slug=f"direct-{uuid.uuid4().hex}",
        direct_key=_direct_key(actor, peer),
        created_by_id=actor.pk,
    )
    rows_of(Membership).bulk_create(
        Membership(room=room, user_id=user_id) for user_id in {actor.pk, peer.pk}
    )
    return room.id


def recent_directs(actor: AbstractBaseUser, *, after: datetime, limit: int) -> list[datetime]:
    """Return when an actor has made their newest direct rooms, at most `limit`, the newest first."""
    rooms = rows_of(Room).filter(kind=RoomKind.DIRECT.value, created_by_id=actor.pk)
    moments = rooms.filter(created__gt=after).order_by("-created").values_list("created", flat=True)
    return list(moments[:limit])


def _direct_key(actor: AbstractBaseUser, peer: AbstractBaseUser) -> str:
    """Return what names two users together, in whatever order: their keys, or a digest of keys that do not fit."""
    low, high = sorted((actor.pk, peer.pk), key=wire_id)
    key = f"{low}:{high}"
    if len(key) <= DIRECT_KEY_LENGTH and key.count(":") == 1:
        return key
    # Without a colon, so that it is nobody's keys; the length tells where the first one ends.
    return hashlib.sha256(f"{len(str(low))}:{key}".encode()).hexdigest()


def room_view(actor: AbstractBaseUser, room_id: int) -> RoomView | None:
    """Return one room as the actor sees it; None when they may not know of it."""
    return next(iter(_views(actor, rows_of(Room).filter(id=room_id))), None)


def view_rooms(actor: AbstractBaseUser, room_ids: Iterable[int]) -> list[RoomView]:
    """Return some rooms as the actor sees them, without those that they may not know of."""
    return _views(actor, rows_of(Room).filter(id__in=list(room_ids)))


def list_rooms(actor: AbstractBaseUser, *, open_limit: int) -> RoomList:
    """Return the actor's rooms and up to `open_limit` groups that they may join, by title."""
    mine = rows_of(Membership).filter(user_id=actor.pk, room=OuterRef("pk"))
    own = _views(actor, rows_of(Room).filter(Exists(mine)))
    others = rows_of(Room).filter(~Exists(mine), kind=RoomKind.GROUP.value)
    found = list(others[: open_limit + 1])
    views = own + [_room_view(room, None, None, None, 0) for room in found[:open_limit]]
    views.sort(key=lambda view: (view.title.casefold(), view.id))
    return RoomList(views, more=len(found) > open_limit)


def room_seqs(room_ids: Iterable[int]) -> dict[int, int]:
    """Return the number of the newest event of each room."""
    log = installed_log()
    topics = {room_topic(room_id): room_id for room_id in room_ids}
    tips = log.tips(topics) if log is not None else {}
    return {topics[topic]: tip.seq for topic, tip in tips.items()}


def _views(actor: AbstractBaseUser, rooms: QuerySet[Room]) -> list[RoomView]:
    """Return rooms as the actor sees them, in five queries however many they are."""
    found = list(rooms)
    own = _own_memberships(actor, [room.id for room in found])
    tips = room_seqs(own)
    peers = _peers(actor, [room for room in found if room.kind == RoomKind.DIRECT.value])
    newest = {view.room: view for view in newest_messages(own)}
    return [
        _room_view(
            room, own.get(room.id), peers.get(room.id), newest.get(room.id), tips.get(room.id, 0)
        )
        for room in found
        if room.id in own or room.kind == RoomKind.GROUP.value
    ]


def _own_memberships(actor: AbstractBaseUser, room_ids: list[int]) -> dict[int, Membership]:
    """Return the actor's memberships by room, each with the number of messages unread."""
    unread = (
        rows_of(Message)
        .filter(room_id=OuterRef("room_id"), seq__gt=OuterRef("read_seq"))
        .exclude(sender_id=actor.pk)
        .order_by()
        .values("pk")[:UNREAD_COUNTED]
    )
    rows = rows_of(Membership).filter(room_id__in=room_ids, user_id=actor.pk)
    return {row.room_id: row for row in rows.annotate(unread=_Counted(unread))}


class _Counted(Subquery):
    """The number of rows of a query: what the ORM counts stops at no limit."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) AS counted)"
    output_field = IntegerField()


def _peers(actor: AbstractBaseUser, rooms: Sequence[Room]) -> dict[int, UserRef]:
    """Return the other person of each direct room: the actor, where they talk to themselves."""
    if not rooms:
        return {}
    to_self = {room.id for room in rooms if room.direct_key == _direct_key(actor, actor)}
    peers = {room.id: user_ref(actor) if room.id in to_self else DELETED_USER for room in rooms}
    others = rows_of(Membership).filter(room__in=rooms).exclude(user_id=actor.pk)
    peers.update({row.room_id: user_ref(row.user) for row in others.select_related("user")})
    return peers


def _room_view(
    room: Room,
    own: Membership | None,
    peer: UserRef | None,
    newest: MessageView | None,
    last_seq: int,
) -> RoomView:
    return RoomView(
        id=room.id,
        slug=room.slug,
        title=peer.name if peer else room.title,
        kind=RoomKind(room.kind),
        url=settled_url(room.slug, peer),
        is_member=own is not None,
        last_seq=last_seq,
        read_seq=own.read_seq if own else 0,
        unread=getattr(own, "unread", 0),
        peer=peer,
        last_message=newest,
    )
