"""Queries about who is in which room."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from django.db.models import Case, Exists, OuterRef, QuerySet, Subquery, Value, When

from djwsbridge.chat.models import Membership, Profile, Role
from djwsbridge.chat.store.database import rows_of
from djwsbridge.chat.store.users import is_active_user, user_ref
from djwsbridge.chat.values import RoomKind, UserRef
from djwsbridge.log.rows import Permit, find_rows
from djwsbridge.protocol.frames import MAX_INTEGER

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = [
    "Access",
    "Removed",
    "add_member",
    "count_members",
    "find_access",
    "find_writers",
    "list_last_seen",
    "list_members",
    "list_room_ids",
    "pass_on_ownership",
    "remove_all_members",
    "remove_member",
    "remove_memberships",
    "writing_permit",
]


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """A member's access to a room: what a service has to know before it acts."""

    membership_id: int
    kind: RoomKind


def find_access(actor: AbstractBaseUser, room_id: int) -> Access | None:
    """Return what an actor may rely on in a room; None when they are no member of it."""
    if room_id > MAX_INTEGER:  # more than the column holds
        return None
    row = (
        rows_of(Membership)
        .filter(room_id=room_id, user_id=actor.pk)
        .values_list("id", "room__kind")
        .first()
    )
    if row is None:
        return None
    membership_id, kind = row
    return Access(membership_id=membership_id, kind=RoomKind(kind))


@functools.cache
def writing_permit() -> Permit:
    """Return what a message needs to be stored. Every right to write is a part of this one condition.

    `find_writers` looks at it before a room is locked, and the statement that stores messages looks again under the
    lock: whoever changes what it looks at takes the lock before the commit (see `lock_rooms`).
    """
    same = (("room_id", "room_id"), ("user_id", "sender_id"))
    return Permit(Membership, same, is_active_user("user__"))


def find_writers(pairs: Iterable[tuple[int, Any]]) -> set[tuple[int, Any]]:
    """Return which of these (room, user) may write now: the user is active and a member of the room."""
    possible = [pair for pair in pairs if pair[0] <= MAX_INTEGER]  # more than the column holds
    model, same, where = writing_permit()
    return find_rows(model, [name for name, _ in same], possible, where=where)


def add_member(actor: AbstractBaseUser, room_id: int, *, last_seq: int) -> bool:
    """Store a membership that has read everything so far; say whether it is new."""
    _, is_new = rows_of(Membership).get_or_create(
        room_id=room_id,
        user_id=actor.pk,
        defaults={"joined_seq": last_seq, "delivered_seq": last_seq, "read_seq": last_seq},
    )
    return is_new


def remove_member(access: Access) -> None:
    """Delete a membership."""
    _delete(rows_of(Membership).filter(id=access.membership_id))


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """A membership that was deleted."""

    room_id: int
    is_owner: bool
    is_group: bool


def remove_memberships(user: AbstractBaseUser, room_ids: Iterable[int]) -> list[Removed]:
    """Delete the memberships of a user in some rooms, and return them. Call it with the rooms locked."""
    rows = rows_of(Membership).filter(user_id=user.pk, room_id__in=list(room_ids))
    found = [
        Removed(room_id=room_id, is_owner=role == Role.OWNER, is_group=kind == RoomKind.GROUP.value)
        for room_id, role, kind in rows.values_list("room_id", "role", "room__kind")
    ]
    _delete(rows)
    return found


def remove_all_members(room_id: int) -> list[Any]:
    """Delete all memberships of a room, and return the keys of the users. Call it with the room locked."""
    rows = rows_of(Membership).filter(room_id=room_id)
    found = list(rows.order_by("id").values_list("user_id", flat=True))
    _delete(rows)
    return found


def _delete(rows: QuerySet[Membership]) -> None:
    """Delete rows without Django's signals: those tell of deletions that the chat does not make itself."""
    rows._raw_delete(rows.db)  # noqa: SLF001  Django has no public way


def pass_on_ownership(room_id: int) -> None:
    """Make a member the owner if the room has none: the first admin, else who is there for longest.

    Call it with the group locked.
    """
    rows = rows_of(Membership).filter(room_id=room_id)
    admins_first = Case(When(role=Role.ADMIN, then=Value(0)), default=Value(1))
    heir = rows.order_by(admins_first, "id").values("id")[:1]
    owners = rows_of(Membership).filter(room_id=OuterRef("room_id"), role=Role.OWNER)
    rows.filter(~Exists(owners), id=Subquery(heir)).update(role=Role.OWNER)


def list_members(room_id: int, *, limit: int) -> list[UserRef]:
    """Return up to `limit` members of a room, the longest there first."""
    rows = rows_of(Membership).filter(room_id=room_id).select_related("user").order_by("id")
    return [user_ref(row.user) for row in rows[:limit]]


def count_members(room_id: int) -> int:
    """Return how many members a room has."""
    return rows_of(Membership).filter(room_id=room_id).count()


def list_last_seen(room_id: int, *, limit: int) -> list[tuple[UserRef, datetime | None]]:
    """Return up to `limit` members of a room, and when each was last seen, if ever."""
    seen = rows_of(Profile).filter(user_id=OuterRef("user_id")).values("last_seen")
    rows = rows_of(Membership).filter(room_id=room_id).annotate(last_seen=Subquery(seen))
    found = rows.select_related("user").order_by("id")[:limit]
    return [(user_ref(row.user), row.last_seen) for row in found]


def list_room_ids(actors: Iterable[AbstractBaseUser]) -> dict[Any, list[int]]:
    """Return the ids of the rooms that actors are members of, by the actor's key."""
    found: dict[Any, list[int]] = {}
    rows = rows_of(Membership).filter(user_id__in=[actor.pk for actor in actors])
    for user_id, room_id in rows.values_list("user_id", "room_id"):
        found.setdefault(user_id, []).append(room_id)
    return found
