"""The HTTP views of the core: where a client asks for a ticket, and what the path of a socket says to plain HTTP."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.tokens import Token

from djwsbridge.conf import settings
from djwsbridge.transport.auth.identity import fingerprint_of, session_digest
from djwsbridge.transport.auth.ticket import issue_ticket, issuing_time
from djwsbridge.transport.auth.token import TokenAuthentication

__all__ = ["TicketView", "upgrade_required"]


class TicketView(APIView):
    """Give whoever is logged in (session and CSRF token, or JWT) a one-time ticket for a socket."""

    authentication_classes = (TokenAuthentication, SessionAuthentication)
    permission_classes = (IsAuthenticated,)

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
def upgrade_required(request: HttpRequest) -> HttpResponse:
    """Tell who asks for a socket's path by plain HTTP what it is for (RFC 9110, section 15.5.22)."""
    return HttpResponse(
        "This address is a WebSocket.\n",
        status=426,
        content_type="text/plain; charset=utf-8",
        headers={"Upgrade": "websocket", "Connection": "Upgrade"},
    )
