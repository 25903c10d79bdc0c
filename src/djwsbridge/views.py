"""The HTTP views of the core: tickets, why a socket does not open, and what its path says to plain HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from rest_framework.authentication import SessionAuthentication
from rest_framework.metadata import SimpleMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler
from rest_framework_simplejwt.tokens import Token

from djwsbridge.conf import settings
from djwsbridge.transport.auth.identity import fingerprint_of, session_digest
from djwsbridge.transport.auth.origin import check_origin
from djwsbridge.transport.auth.ticket import issue_ticket, issuing_time
from djwsbridge.transport.auth.token import TokenAuthentication
from djwsbridge.transport.refusals import tell_no_upgrade

__all__ = ["TicketView", "explain_refusal", "upgrade_required"]

# What people read who cannot mend it, and what developers read, where DEBUG is on.
_NOT_LET_IN = "The site does not let this page connect. Please tell the people who run it."
_UNREACHED = (
    "The site answers, but no live connection to it comes about. Please tell the people who run it."
)
_UNREACHED_DEBUG = (
    "The site answers by HTTP and would let this page in, but no WebSocket opens. Is it served by an ASGI server that "
    "speaks WebSocket, and does the proxy in front pass `Upgrade` and `Connection` on? If a handshake was refused, the "
    "logger djwsbridge.handshake says why."
)


class LibraryAPIView(APIView):
    """A view that the library's clients ask: what REST_FRAMEWORK says of the project's own API does not apply to it."""

    # The first one names the challenge of a 401.
    authentication_classes = (TokenAuthentication, SessionAuthentication)
    permission_classes = (IsAuthenticated,)
    parser_classes: tuple[type[BaseParser], ...] = (JSONParser,)
    renderer_classes: tuple[type[BaseRenderer], ...] = (JSONRenderer,)
    content_negotiation_class = DefaultContentNegotiation
    metadata_class = SimpleMetadata
    throttle_classes = ()
    versioning_class = None

    def get_exception_handler(self) -> Callable[..., Any]:
        """Answer an error as Django REST framework does by itself."""
        return exception_handler


class TicketView(LibraryAPIView):
    """Give whoever is logged in (session and CSRF token, or JWT) a one-time ticket for a socket."""

    def post(self, request: Request) -> Response:
        """Return `ticket` and the seconds in which it must be used."""
        user = request.user
        if not isinstance(user, AbstractBaseUser):
            raise TypeError("IsAuthenticated lets only users through.")
        session_key = None
        if isinstance(request.successful_authenticator, SessionAuthentication):
            session_key = request.session.session_key
        ticket = issue_ticket(
            user,
            session=session_digest(session_key) if session_key else None,
            expires_at=request.auth["exp"] if isinstance(request.auth, Token) else None,
            issued_at=issuing_time(user),
            fingerprint=fingerprint_of(user),
        )
        body = {"ticket": ticket, "expires_in": int(settings.TICKET_TTL)}
        return Response(body, headers={"Cache-Control": "no-store"})


@never_cache
@require_safe
def explain_refusal(request: HttpRequest) -> JsonResponse:
    """Tell a page of a user who is logged in why its socket does not open, which the browser hides.

    The page names its origin in `?origin=`. What is wrong is told in full where DEBUG is on; else only that it is.
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return JsonResponse({"reason": "auth_required"}, status=401)
    raw = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    denied = check_origin(request.GET.get("origin"), {"scheme": request.scheme, "headers": raw})
    reason = "unreached" if denied is None else denied.reason
    if not django_settings.DEBUG:
        message = _UNREACHED if denied is None else _NOT_LET_IN
    elif denied is None:
        message = _UNREACHED_DEBUG
    else:
        message = f"The WebSocket is refused with HTTP 403: {denied.text}. (DEBUG is on: only you read this.)"
    return JsonResponse({"reason": reason, "message": message})


@never_cache
def upgrade_required(request: HttpRequest) -> HttpResponse:
    """Tell who asks for a socket's path by plain HTTP what it is for (RFC 9110, section 15.5.22)."""
    if "Sec-WebSocket-Key" in request.headers:
        tell_no_upgrade(request.path)
    return HttpResponse(
        "This address is a WebSocket.\n",
        status=426,
        content_type="text/plain; charset=utf-8",
        headers={"Upgrade": "websocket", "Connection": "Upgrade"},
    )
