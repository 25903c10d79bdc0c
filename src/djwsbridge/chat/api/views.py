"""One class per address: fields in, one service, its value out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response

from djwsbridge.chat import services
from djwsbridge.chat.api import inputs
from djwsbridge.chat.api.errors import describe, status_of, to_command_error
from djwsbridge.chat.api.formats import StrictJSONParser, StructRenderer
from djwsbridge.chat.limits import count_room, count_search, count_send
from djwsbridge.chat.values import RoomLeft
from djwsbridge.views import LibraryAPIView

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = [
    "DirectView",
    "JoinView",
    "LeaveView",
    "MeView",
    "MembersView",
    "MessagesView",
    "RoomsView",
]

Fields = TypeVar("Fields", bound=inputs.Input)


@method_decorator(never_cache, name="dispatch")
class ChatAPIView(LibraryAPIView):
    """What all addresses have in common: how they are read and answered, and in which words they refuse."""

    parser_classes = (StrictJSONParser,)
    renderer_classes = (StructRenderer,)

    @property
    def actor(self) -> AbstractBaseUser:
        """Return the user who asks; a permission has made sure that there is one."""
        return cast("AbstractBaseUser", self.request.user)

    def read_body(self, kind: type[Fields]) -> Fields:
        """Return the fields of the request's body."""
        return inputs.read(kind, cast("dict[str, object]", self.request.data))

    def read_query(self, kind: type[Fields]) -> Fields:
        """Return the fields of the request's query string."""
        return inputs.read(kind, self.request.query_params.dict(), is_query=True)

    def handle_exception(self, exc: Exception) -> Response:
        """Answer an error with its code."""
        error = to_command_error(exc)
        answer = Response(describe(error), status=status_of(error))
        if isinstance(exc, exceptions.APIException):
            answer.status_code = exc.status_code
        challenge = self.get_authenticate_header(self.request)
        if answer.status_code == status.HTTP_401_UNAUTHORIZED and challenge:
            answer["WWW-Authenticate"] = challenge
        answer.exception = True
        return answer


class RoomsView(ChatAPIView):
    """The rooms of the user, and the groups that they may join."""

    def get(self, request: Request) -> Response:
        """List them."""
        query = self.read_query(inputs.ListRooms)
        return Response(services.list_rooms(actor=self.actor, ids=query.room_ids))

    def post(self, request: Request) -> Response:
        """Make a group."""
        body = self.read_body(inputs.CreateRoom)
        count_room(self.actor)
        room = services.create_room(actor=self.actor, title=body.title)
        return Response(room, status=status.HTTP_201_CREATED)


class JoinView(ChatAPIView):
    """The membership of a group, to begin."""

    def post(self, request: Request, room_id: int) -> Response:
        """Join."""
        self.read_body(inputs.Nothing)
        return Response(services.join_room(actor=self.actor, room_id=room_id))


class LeaveView(ChatAPIView):
    """The membership of a group, to end."""

    def post(self, request: Request, room_id: int) -> Response:
        """Leave."""
        self.read_body(inputs.Nothing)
        services.leave_room(actor=self.actor, room_id=room_id)
        return Response(RoomLeft(room_id))


class MessagesView(ChatAPIView):
    """The messages of a room."""

    def get(self, request: Request, room_id: int) -> Response:
        """Return a part of the history."""
        query = self.read_query(inputs.ListMessages)
        page = services.list_messages(
            actor=self.actor,
            room_id=room_id,
            before=query.before,
            after=query.after,
            limit=query.limit,
        )
        return Response(page)

    def post(self, request: Request, room_id: int) -> Response:
        """Send a message."""
        count_send(self.actor)
        body = self.read_body(inputs.SendMessage)
        message = services.send_message(
            actor=self.actor,
            room_id=room_id,
            body=body.body,
            client_message_id=body.client_message_id,
        )
        return Response(message, status=status.HTTP_201_CREATED)


class MembersView(ChatAPIView):
    """The members of a room."""

    def get(self, request: Request, room_id: int) -> Response:
        """List them."""
        self.read_query(inputs.Nothing)
        return Response(services.list_members(actor=self.actor, room_id=room_id))


class DirectView(ChatAPIView):
    """The direct room of the user and another one."""

    def post(self, request: Request) -> Response:
        """Open it; it is made when there is none."""
        body = self.read_body(inputs.OpenDirect)
        count_search(self.actor)
        return Response(services.open_direct(actor=self.actor, user_id=body.user))


class MeView(ChatAPIView):
    """The user, as they see themselves."""

    def get(self, request: Request) -> Response:
        """Show what they have chosen."""
        self.read_query(inputs.Nothing)
        return Response(services.view_me(actor=self.actor))

    def patch(self, request: Request) -> Response:
        """Change it."""
        body = self.read_body(inputs.ChangeMe)
        return Response(services.set_read_receipts(actor=self.actor, is_on=body.read_receipts))
