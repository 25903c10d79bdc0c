"""The pages of the chat: server-rendered shells that the page's own modules bring to life.

Every page has this context:

* `chat_data`: what the modules start from, for `{{ chat_data|json_script:"chat-data" }}`:
  `socket_path`, `api`, `user`, `rooms`, `room`, `peer`, `messages`, `last_seq`, `members`.
* `rooms`, `directs`: the groups (one's own and those to join) and the private conversations, each
  as `RoomView`, whose `url` is that of this request: under its prefix, in its language.
* `room`: the open room as `RoomView`; None on the list and for a private conversation that nobody
  began.
* `peer`: the other person of a private conversation as `UserRef`, else None.
* `is_member`: whether the user may read and write in `room`.
* `title`, `title_error`, `username`, `username_error`: what a refused form held, and why it was
  refused; else undefined.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import msgspec
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from djwsbridge.chat import services
from djwsbridge.chat.addresses import page_url
from djwsbridge.chat.limits import count_room, count_search
from djwsbridge.chat.values import RoomKind, RoomView, UserRef
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.routing import socket_path

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = [
    "create_room",
    "direct",
    "index",
    "join_room",
    "leave_room",
    "open_direct",
    "room",
]

#: The status of a page that says why a form was refused; by default it is the form's fault.
STATUSES = {ErrorCode.NOT_FOUND: 404, ErrorCode.RATE_LIMITED: 429, ErrorCode.BUSY: 503}


@never_cache
@login_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Show the list of rooms, and the forms to make a room or to begin a private conversation."""
    return _index(request)


@never_cache
@login_required
@require_safe
def room(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a room, with an offer to join to those who are no member; a missing one can be made."""
    try:
        found = services.find_room(actor=_actor(request), name=slug)
    except CommandError:
        error = "There is no such room yet. You can create it."
        return _index(request, status=404, title=slug, title_error=error)
    if found.peer is not None and found.peer.id is not None and found.peer.name:
        return redirect(_url_of(found))
    return _render(request, "room", found, found.peer)


@never_cache
@login_required
@require_safe
def direct(request: HttpRequest, username: str) -> HttpResponse:
    """Show the private conversation with a user; looking makes none."""
    with _missing_is_404():
        try:
            peer, found = _find_direct(request, username)
        except CommandError as error:
            if error.code is not ErrorCode.RATE_LIMITED:
                raise
            return _refuse_username(request, username, error)
    return _render(request, "room", found, peer)


@login_required
@require_POST
def create_room(request: HttpRequest) -> HttpResponse:
    """Make a group and go there; show the list again when its title cannot be used."""
    title = request.POST.get("title", "")
    try:
        count_room(_actor(request))
        made = services.create_room(actor=_actor(request), title=title)
    except CommandError as error:
        return _index(request, status=_status_of(error), title=title, title_error=error.message)
    return redirect(_url_of(made))


@login_required
@require_POST
def join_room(request: HttpRequest, slug: str) -> HttpResponse:
    """Join a group and go there."""
    with _missing_is_404():
        found = services.find_room(actor=_actor(request), name=slug)
        return redirect(_url_of(services.join_room(actor=_actor(request), room_id=found.id)))


@login_required
@require_POST
def leave_room(request: HttpRequest, slug: str) -> HttpResponse:
    """Leave a group and go back to the list."""
    with _missing_is_404():
        found = services.find_room(actor=_actor(request), name=slug)
        services.leave_room(actor=_actor(request), room_id=found.id)
    return redirect("djwsbridge_chat:index")


@login_required
@require_POST
def open_direct(request: HttpRequest) -> HttpResponse:
    """Open the private conversation with the user of a name and go there."""
    username = request.POST.get("username", "")
    try:
        peer, found = _find_direct(request, username)
        if found is None:
            found = services.open_direct(actor=_actor(request), user_id=peer.id)
    except CommandError as error:
        return _refuse_username(request, username, error)
    return redirect(_url_of(found))


def _find_direct(request: HttpRequest, username: str) -> tuple[UserRef, RoomView | None]:
    """Find a person and the conversation with them; without one it is counted, whether there is such a person or not.

    Raises:
        CommandError: `rate_limited`; else as the service.
    """
    try:
        peer, found = services.find_direct(actor=_actor(request), username=username)
    except CommandError:
        count_search(_actor(request))
        raise
    if found is None:
        count_search(_actor(request))
    return peer, found


def _refuse_username(request: HttpRequest, username: str, error: CommandError) -> HttpResponse:
    is_missing = error.code is ErrorCode.NOT_FOUND
    text = "There is no such person here." if is_missing else error.message
    return _index(request, status=_status_of(error), username=username, username_error=text)


def _status_of(error: CommandError) -> int:
    return STATUSES.get(error.code, 400)


def _index(request: HttpRequest, *, status: int = 200, **forms: str) -> HttpResponse:
    return _render(request, "index", None, None, status=status, **forms)


def _render(
    request: HttpRequest,
    template: str,
    found: RoomView | None,
    peer: UserRef | None,
    *,
    status: int = 200,
    **forms: str,
) -> HttpResponse:
    page = services.load_page(actor=_actor(request), room=found and _here(found))
    rooms = [_here(listed) for listed in page.rooms]
    chat_data = {
        "socket_path": socket_path(),
        "api": reverse("djwsbridge_chat:index") + "api/",
        "peer": msgspec.to_builtins(peer),
        **msgspec.to_builtins(msgspec.structs.replace(page, rooms=rooms)),
    }
    context = {
        "chat_data": chat_data,
        "rooms": [listed for listed in rooms if listed.kind is RoomKind.GROUP],
        "directs": [listed for listed in rooms if listed.kind is RoomKind.DIRECT],
        "more_rooms": page.more_rooms,
        "room": page.room,
        "peer": peer,
        "is_member": found is not None and found.is_member,
        **forms,
    }
    return render(request, f"djwsbridge_chat/{template}.html", context, status=status)


def _here(room: RoomView) -> RoomView:
    """Return a room with the address that it has for the current request."""
    return msgspec.structs.replace(room, url=_url_of(room))


def _url_of(room: RoomView) -> str:
    return page_url(room.slug, room.peer)


def _actor(request: HttpRequest) -> AbstractBaseUser:
    return cast("AbstractBaseUser", request.user)  # `login_required` has made sure


@contextmanager
def _missing_is_404() -> Iterator[None]:
    """Turn "not found", and "not possible here", into a page that says no more than that."""
    try:
        yield
    except CommandError as error:
        if error.code in (ErrorCode.NOT_FOUND, ErrorCode.FORBIDDEN):
            raise Http404 from None
        raise
