"""Every query of the chat: takes and returns plain values; the tables stay in here."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Greatest, Now
from django.urls import NoReverseMatch, reverse

from djwsbridge.chat.models import Membership, Message, NameSkeleton, Role, Room
from djwsbridge.chat.values import MessageView, RoomKind, RoomView, UserRef
from djwsbridge.protocol.frames import MAX_INTEGER

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = [
    "Access",
    "add_group",
    "add_member",
    "add_message",
    "find_access",
    "find_direct",
    "find_group_seq",
    "find_message",
    "find_room_id",
    "find_user",
    "find_username",
    "list_members",
    "list_messages",
    "list_room_ids",
    "list_rooms",
    "make_direct",
    "names_without_skeleton",
    "next_seq",
    "raise_read_seq",
    "remove_member",
    "room_view",
    "save_skeletons",
    "skeleton_exists",
    "title_exists",
    "user_ref",
]

DELETED_USER = UserRef(id=None, name="Deleted user")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """A member's access to a room: what a service has to know before it acts."""

    membership_id: int
    kind: RoomKind
    last_seq: int
    read_seq: int


# Users


def user_ref(user: AbstractBaseUser | None) -> UserRef:
    """Return a user as others see them."""
    if user is None:
        return DELETED_USER
    return UserRef(
        id=user.pk if isinstance(user.pk, int) else str(user.pk), name=user.get_username()
    )


def find_user(user_id: int | str | None) -> AbstractBaseUser | None:
    """Return an active user by key, or None when there is none (or no such key can exist)."""
    try:
        return _active_users().filter(pk=user_id).first()
    except (TypeError, ValueError, ValidationError):
        return None


def find_username(username: str) -> AbstractBaseUser | None:
    """Return an active user by name, or None."""
    if "\0" in username:  # PostgreSQL takes no such text
        return None
    return _active_users().filter(**{get_user_model().USERNAME_FIELD: username}).first()


def _active_users() -> QuerySet[AbstractBaseUser]:
    users = cast("QuerySet[AbstractBaseUser]", get_user_model()._default_manager.all())
    active = any(field.name == "is_active" for field in users.model._meta.get_fields())
    return users.filter(**({"is_active": True} if active else {}))


# Rooms


def find_room_id(name: str) -> int | None:
    """Return the id of the room with this slug, or else of the group with this very title."""
    if "\0" in name:  # PostgreSQL takes no such text
        return None
    rooms = Room.objects.filter(Q(slug=name) | Q(title=name, kind=RoomKind.GROUP.value))
    found = {slug: room_id for room_id, slug in rooms.values_list("id", "slug")}
    return found.get(name) or next(iter(found.values()), None)


def title_exists(key: str) -> bool:
    """Say whether a group has a title with this key."""
    return Room.objects.filter(title_key=key).exists()


def add_group(*, title: str, key: str, slug: str, owner: AbstractBaseUser) -> int:
    """Store a group with its owner and return its id.

    Raises:
        IntegrityError: the title or the slug is taken.
    """
    room = Room.objects.create(
        kind=RoomKind.GROUP.value, title=title, title_key=key, slug=slug, created_by_id=owner.pk
    )
    Membership.objects.create(room=room, user_id=owner.pk, role=Role.OWNER)
    return room.id


def find_direct(actor: AbstractBaseUser, peer: AbstractBaseUser) -> int | None:
    """Return the id of the direct room of two users, or None."""
    key = _direct_key(actor, peer)
    return Room.objects.filter(direct_key=key).values_list("id", flat=True).first()


def make_direct(actor: AbstractBaseUser, peer: AbstractBaseUser) -> int:
    """Store the direct room of two users (or of one with themselves) and return its id.

    Raises:
        IntegrityError: it exists.
    """
    room = Room.objects.create(
        kind=RoomKind.DIRECT.value,
        slug=f"direct-{uuid.uuid4().hex}",
        direct_key=_direct_key(actor, peer),
        created_by_id=actor.pk,
    )
    Membership.objects.bulk_create(
        Membership(room=room, user_id=user_id) for user_id in {actor.pk, peer.pk}
    )
    return room.id


def _direct_key(actor: AbstractBaseUser, peer: AbstractBaseUser) -> str:
    low, high = sorted((actor.pk, peer.pk))
    return f"{low}:{high}"


def room_view(actor: AbstractBaseUser, room_id: int) -> RoomView | None:
    """Return one room as the actor sees it; None when they may not know of it."""
    return next(iter(_views(actor, Room.objects.filter(id=room_id))), None)


def list_rooms(actor: AbstractBaseUser, *, open_limit: int) -> list[RoomView]:
    """Return the actor's rooms and up to `open_limit` groups that they may join, by title."""
    mine = Membership.objects.filter(user_id=actor.pk, room=OuterRef("pk"))
    own = _views(actor, Room.objects.filter(Exists(mine)))
    others = Room.objects.filter(~Exists(mine), kind=RoomKind.GROUP.value)
    views = own + [_room_view(room, None, None, None) for room in others[:open_limit]]
    return sorted(views, key=lambda view: (view.title.casefold(), view.id))


def _views(actor: AbstractBaseUser, rooms: QuerySet[Room]) -> list[RoomView]:
    """Return rooms as the actor sees them, in four queries however many they are."""
    found = list(rooms)
    ids = [room.id for room in found]
    own = {
        membership.room_id: membership
        for membership in Membership.objects.filter(room_id__in=ids, user_id=actor.pk)
    }
    peers = _peers(actor, [room for room in found if room.kind == RoomKind.DIRECT.value])
    newest = {view.room: view for view in _newest_messages(own)}
    return [
        _room_view(room, own.get(room.id), peers.get(room.id), newest.get(room.id))
        for room in found
        if room.id in own or room.kind == RoomKind.GROUP.value
    ]


def _peers(actor: AbstractBaseUser, rooms: Sequence[Room]) -> dict[int, UserRef]:
    """Return the other person of each direct room: the actor, where they talk to themselves."""
    if not rooms:
        return {}
    to_self = {room.id for room in rooms if room.direct_key == _direct_key(actor, actor)}
    peers = {room.id: user_ref(actor) if room.id in to_self else DELETED_USER for room in rooms}
    others = Membership.objects.filter(room__in=rooms).exclude(user_id=actor.pk)
    peers.update({row.room_id: user_ref(row.user) for row in others.select_related("user")})
    return peers


def _newest_messages(room_ids: Iterable[int]) -> list[MessageView]:
    rows = Message.objects.filter(room_id__in=list(room_ids), seq=F("room__last_seq"))
    return [_message_view(row) for row in rows.select_related("sender")]


def _room_view(
    room: Room, own: Membership | None, peer: UserRef | None, newest: MessageView | None
) -> RoomView:
    last_seq, read_seq = (room.last_seq, own.read_seq) if own else (0, 0)
    return RoomView(
        id=room.id,
        slug=room.slug,
        title=peer.name if peer else room.title,
        kind=RoomKind(room.kind),
        url=_room_url(room, peer),
        is_member=own is not None,
        last_seq=last_seq,
        read_seq=read_seq,
        unread=last_seq - read_seq,
        peer=peer,
        last_message=newest,
    )


def _room_url(room: Room, peer: UserRef | None) -> str:
    """Return the address of the room's page; empty when the project has no chat pages."""
    try:
        if peer and peer.id is not None:
            return reverse("djwsbridge_chat:direct", args=[peer.name])
        return reverse("djwsbridge_chat:room", args=[room.slug])
    except NoReverseMatch:
        return ""


# Memberships


def find_access(actor: AbstractBaseUser, room_id: int) -> Access | None:
    """Return what an actor may rely on in a room; None when they are no member of it."""
    if room_id > MAX_INTEGER:  # more than the column holds
        return None
    row = (
        Membership.objects.filter(room_id=room_id, user_id=actor.pk)
        .values_list("id", "room__kind", "room__last_seq", "read_seq")
        .first()
    )
    if row is None:
        return None
    membership_id, kind, last_seq, read_seq = row
    return Access(
        membership_id=membership_id,
        kind=RoomKind(kind),
        last_seq=last_seq,
        read_seq=read_seq,
    )


def find_group_seq(room_id: int) -> int | None:
    """Return the newest seq of a group; None when there is no such group."""
    groups = Room.objects.filter(id=room_id, kind=RoomKind.GROUP.value)
    return groups.values_list("last_seq", flat=True).first()


def add_member(actor: AbstractBaseUser, room_id: int, *, last_seq: int) -> bool:
    """Store a membership that has read everything so far; say whether it is new."""
    _, is_new = Membership.objects.get_or_create(
        room_id=room_id,
        user_id=actor.pk,
        defaults={"joined_seq": last_seq, "delivered_seq": last_seq, "read_seq": last_seq},
    )
    return is_new


def remove_member(access: Access) -> None:
    """Delete a membership."""
    Membership.objects.filter(id=access.membership_id).delete()


def raise_read_seq(access: Access, seq: int) -> None:
    """Move the read pointer, and the delivered pointer with it, forward; never back."""
    Membership.objects.filter(id=access.membership_id, read_seq__lt=seq).update(
        read_seq=seq, delivered_seq=Greatest("delivered_seq", seq)
    )


def list_members(room_id: int, *, limit: int) -> list[UserRef]:
    """Return up to `limit` members of a room, the longest there first."""
    rows = Membership.objects.filter(room_id=room_id).select_related("user").order_by("id")
    return [user_ref(row.user) for row in rows[:limit]]


def list_room_ids(actor: AbstractBaseUser) -> list[int]:
    """Return the ids of the rooms that an actor is a member of."""
    return list(Membership.objects.filter(user_id=actor.pk).values_list("room_id", flat=True))


# Messages


def next_seq(room_id: int) -> tuple[int, datetime]:
    """Advance a room's counter, which locks it until the transaction ends; return it and the time.

    The time is the database's own, so that all nodes agree about it.
    """
    room = Room.objects.filter(id=room_id)
    room.update(last_seq=F("last_seq") + 1)
    seq, now = room.values_list("last_seq", Now()).get()
    return seq, now


def add_message(
    actor: AbstractBaseUser,
    room_id: int,
    *,
    seq: int,
    created: datetime,
    body: str,
    client_message_id: uuid.UUID,
) -> MessageView:
    """Store a message.

    Raises:
        IntegrityError: this sender has stored a message with this `client_message_id`.
    """
    row = Message.objects.create(
        room_id=room_id,
        seq=seq,
        sender_id=actor.pk,
        body=body,
        client_message_id=client_message_id,
        created=created,
    )
    return _message_view(row, sender=user_ref(actor))


def find_message(actor: AbstractBaseUser, client_message_id: uuid.UUID) -> MessageView | None:
    """Return the message that an actor stored under a `client_message_id`."""
    row = Message.objects.filter(sender_id=actor.pk, client_message_id=client_message_id).first()
    return None if row is None else _message_view(row, sender=user_ref(actor))


def list_messages(
    room_id: int, *, before: int | None, after: int | None, limit: int
) -> list[MessageView]:
    """Return up to `limit` messages, ascending: the newest, those before, or those after a seq."""
    rows = Message.objects.filter(room_id=room_id).select_related("sender")
    if after is not None:
        return [_message_view(row) for row in rows.filter(seq__gt=after).order_by("seq")[:limit]]
    if before is not None:
        rows = rows.filter(seq__lt=before)
    return [_message_view(row) for row in reversed(rows.order_by("-seq")[:limit])]


def _message_view(row: Message, *, sender: UserRef | None = None) -> MessageView:
    return MessageView(
        room=row.room_id,
        seq=row.seq,
        sender=sender or user_ref(row.sender),
        body=row.body,
        created=row.created,
        client_message_id=row.client_message_id,
    )


# Names


def names_without_skeleton(*, limit: int) -> list[tuple[Any, str]]:
    """Return up to `limit` users (key and name) whose present name has no skeleton."""
    users = get_user_model()
    known = NameSkeleton.objects.filter(user=OuterRef("pk"), name=OuterRef(users.USERNAME_FIELD))
    rows = users._default_manager.filter(~Exists(known))
    return list(rows.values_list("pk", users.USERNAME_FIELD)[:limit])


def save_skeletons(rows: Iterable[tuple[Any, str, str]]) -> None:
    """Store (user key, name, skeleton) for each row."""
    NameSkeleton.objects.bulk_create(
        (
            NameSkeleton(user_id=user_id, name=name, skeleton=skeleton)
            for user_id, name, skeleton in rows
        ),
        update_conflicts=True,
        unique_fields=["user"],
        update_fields=["name", "skeleton"],
    )


def skeleton_exists(skeleton: str) -> bool:
    """Say whether some user's name has this skeleton."""
    return NameSkeleton.objects.filter(skeleton=skeleton).exists()
