from __future__ import annotations

from typing import Any

from django.core.checks import run_checks
from django.db.models import Model

from djwsbridge.log.checks import check_database, check_time_zones


class EventsElsewhere:
    def db_for_write(self, model: type[Model], **hints: object) -> str | None:
        return "archive" if model._meta.label == "djwsbridge_log.Event" else None


def test_a_moment_needs_its_time_zone(settings: Any) -> None:
    assert check_time_zones(None) == []
    settings.USE_TZ = False
    [error] = check_time_zones(None)
    assert error.id == "djwsbridge_log.E001"
    assert "USE_TZ" in error.msg
    assert "USE_TZ = True" in str(error.hint)


def test_an_event_and_its_number_are_in_one_database(settings: Any) -> None:
    assert check_database(None) == []
    settings.DATABASE_ROUTERS = [EventsElsewhere()]
    [error] = check_database(None)
    assert error.id == "djwsbridge_log.E002"
    assert "`archive`" in error.msg
    assert "`default`" in error.msg
    assert "DATABASE_ROUTERS" in str(error.hint)


def test_the_app_has_registered_them(settings: Any) -> None:
    settings.USE_TZ = False
    settings.DATABASE_ROUTERS = [EventsElsewhere()]
    assert {"djwsbridge_log.E001", "djwsbridge_log.E002"} <= {one.id for one in run_checks()}
