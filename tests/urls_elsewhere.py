"""Other addresses of the chat, for requests that have a URLconf of their own."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("elsewhere/", include("djwsbridge.chat.urls"))]
