"""Every query of the chat: takes and returns plain values; the tables stay in here."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.urls import NoReverseMatch, reverse

from djwsbridge.chat.models import Membership, Message, NameSkeleton, Role, Room
from djwsbridge.chat.values import MessageView, RoomKind, RoomView, UserRef
from djwsbridge.durable import installed_log
from djwsbridge.protocol.frames import MAX_INTEGER

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = [
    "Access",
    "add_group",
    "add_member",
    "add_messages",
    "find_access",
    "find_direct",
    "find_members",
    "find_room_id",
    "find_sent",
    "find_user",
    "find_username",
    "is_group",
    "list_members",
    "list_messages",
    "list_room_ids",
    "list_rooms",
    "make_direct",
    "names_without_skeleton",
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
    views = own + [_room_view(room, None, None, None, 0) for room in others[:open_limit]]
    return sorted(views, key=lambda view: (view.title.casefold(), view.id))


def _views(actor: AbstractBaseUser, rooms: QuerySet[Room]) -> list[RoomView]:
    """Return rooms as the actor sees them, in five queries however many they are."""
    found = list(rooms)
    own = _own_memberships(actor, [room.id for room in found])
    tips = _room_seqs(own)
    peers = _peers(actor, [room for room in found if room.kind == RoomKind.DIRECT.value])
    newest = {view.room: view for view in _newest_messages(own)}
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
        Message.objects.filter(room_id=OuterRef("room_id"), seq__gt=OuterRef("read_seq"))
        .exclude(sender_id=actor.pk)
        .order_by()
        .values("room_id")
        .annotate(count=Count("*"))
        .values("count")
    )
    rows = Membership.objects.filter(room_id__in=room_ids, user_id=actor.pk)
    return {row.room_id: row for row in rows.annotate(unread=Coalesce(Subquery(unread), 0))}


def _room_seqs(room_ids: Iterable[int]) -> dict[int, int]:
    """Return the number of the newest event of each room."""
    log = installed_log()
    topics = {f"room.{room_id}": room_id for room_id in room_ids}
    tips = log.tips(topics) if log is not None else {}
    return {topics[topic]: seq for topic, seq in tips.items()}


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
    newest = Message.objects.filter(room_id=OuterRef("pk")).order_by("-seq").values("pk")[:1]
    rooms = Room.objects.filter(pk__in=list(room_ids)).order_by()
    rows = Message.objects.filter(pk__in=rooms.values_list(Subquery(newest), flat=True))
    return [_message_view(row) for row in rows.select_related("sender")]


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
        url=_room_url(room, peer),
        is_member=own is not None,
        last_seq=last_seq,
        read_seq=own.read_seq if own else 0,
        unread=getattr(own, "unread", 0),
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
        .values_list("id", "room__kind", "read_seq")
        .first()
    )
    if row is None:
        return None
    membership_id, kind, read_seq = row
    return Access(membership_id=membership_id, kind=RoomKind(kind), read_seq=read_seq)


def find_members(pairs: Iterable[tuple[int, Any]]) -> set[tuple[int, Any]]:
    """Return which of these (room, user) are memberships; some others may be among them."""
    rooms, users = zip(*pairs, strict=True)
    possible = {room_id for room_id in rooms if room_id <= MAX_INTEGER}
    rows = Membership.objects.filter(room_id__in=possible, user_id__in=set(users))
    return set(rows.values_list("room_id", "user_id"))


def is_group(room_id: int) -> bool:
    """Say whether there is a group with this id."""
    return Room.objects.filter(id=room_id, kind=RoomKind.GROUP.value).exists()


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


def add_messages(messages: Iterable[tuple[Any, MessageView]]) -> None:
    """Store messages, each with the key of its sender, in one statement.

    Raises:
        IntegrityError: a sender has stored a message with this `client_message_id` before.
    """
    Message.objects.bulk_create(
        Message(
            room_id=view.room,
            seq=view.seq,
            sender_id=sender_id,
            body=view.body,
            client_message_id=view.client_message_id,
            created=view.created,
        )
        for sender_id, view in messages
    )


def find_sent(keys: Iterable[tuple[Any, uuid.UUID]]) -> dict[tuple[Any, uuid.UUID], MessageView]:
    """Return which of these (sender, `client_message_id`) were stored before, and what."""
    senders, ids = zip(*keys, strict=True)
    rows = Message.objects.filter(sender_id__in=set(senders), client_message_id__in=set(ids))
    return {
        (row.sender_id, row.client_message_id): _message_view(row)
        for row in rows.select_related("sender")
    }


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
