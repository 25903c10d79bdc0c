"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["TalkConfig"]


class TalkConfig(AppConfig):
    """The app of the ordinary stack."""

    name = "benchmarks.peers.ordinary_site.talk"
    label = "talk"
