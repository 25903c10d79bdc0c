"""The project's own rules for its own API."""

from collections.abc import Mapping
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response


class KeyAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> None:
        raise AuthenticationFailed("An API key is required.")


class StaffOnly(BasePermission):
    def has_permission(self, request: Request, view: object) -> bool:
        return bool(request.user and request.user.is_staff)


class EnvelopeRenderer(JSONRenderer):
    media_type = "application/vnd.mysite+json"
    format = "mysite"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        return super().render({"status": "ok", "data": data}, *args, **kwargs)


class FirstRenderer(BaseContentNegotiation):
    def select_parser(self, request: Request, parsers: list[Any]) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: list[Any], suffix: str | None = None
    ) -> Any:
        return renderers[0], "application/vnd.mysite+json"


def handle_exception(error: Exception, context: Mapping[str, Any]) -> Response:
    return Response({"failure": str(error)}, status=418)
