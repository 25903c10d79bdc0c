"""The pages of the site: the chat and its REST API, where it is installed."""

from __future__ import annotations

import os

from django.urls import include, path

urlpatterns = (
    [path("chat/", include("djwsbridge.chat.urls"))]
    if os.environ.get("BENCH_SITE") == "chat"
    else []
)
