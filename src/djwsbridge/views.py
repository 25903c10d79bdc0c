"""The one HTTP view of the core: where a client asks for a ticket."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.tokens import Token

from djwsbridge.conf import settings
from djwsbridge.transport.auth.identity import session_digest
from djwsbridge.transport.auth.ticket import issue_ticket

__all__ = ["TicketView"]


class TicketView(APIView):
    """Give whoever is logged in (session and CSRF token, or JWT) a one-time ticket for a socket."""

    authentication_classes = (JWTAuthentication, SessionAuthentication)
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
        )
        body = {"ticket": ticket, "expires_in": int(settings.TICKET_TTL)}
        return Response(body, headers={"Cache-Control": "no-store"})
