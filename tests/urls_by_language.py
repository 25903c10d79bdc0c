"""The reference project's addresses behind the language of their reader: `/de/chat/`."""

from __future__ import annotations

from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path

from config.urls import urlpatterns as site_urlpatterns

urlpatterns = [
    *i18n_patterns(path("chat/", include("djwsbridge.chat.urls"))),
    *(each for each in site_urlpatterns if getattr(each, "app_name", "") != "djwsbridge_chat"),
]
