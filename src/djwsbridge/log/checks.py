"""System checks of the log."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.db import router

from djwsbridge.log.models import Event, Topic

__all__ = ["check_database", "check_time_zones"]


def check_time_zones(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Return what is wrong when moments are kept without their time zone: the log's go to clients everywhere."""
    if django_settings.USE_TZ:
        return []
    return [
        Error(
            "`djwsbridge.log` is in INSTALLED_APPS, and USE_TZ is off: moments would have no time zone.",
            hint=(
                "Set USE_TZ = True, Django's default since 5.0. In a project that was without, see its page on time "
                'zones, "Migration guide".'
            ),
            id="djwsbridge_log.E001",
        )
    ]


def check_database(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Return what is wrong when events and their numbers are not in one database, and so in no common transaction."""
    topics, events = router.db_for_write(Topic), router.db_for_write(Event)
    if topics == events:
        return []
    return [
        Error(
            f"The log's topics are written to the database `{topics}`, and its events to `{events}`.",
            hint="Let the routers in DATABASE_ROUTERS name one database for all of `djwsbridge_log`.",
            id="djwsbridge_log.E002",
        )
    ]
