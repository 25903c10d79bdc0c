"""The Django app of the log."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

__all__ = ["LogConfig"]


class LogConfig(AppConfig):
    """Wire the log into the runtime: publishing durably and recovering need it."""

    name = "djwsbridge.log"
    label = "djwsbridge_log"
    verbose_name = "djwsbridge log"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell the core that there is a log."""
        from djwsbridge.durable import use_log  # noqa: PLC0415
        from djwsbridge.log.checks import check_database, check_time_zones  # noqa: PLC0415
        from djwsbridge.log.log import Log  # noqa: PLC0415

        checks.register(check_time_zones, checks.Tags.compatibility)
        checks.register(check_database, checks.Tags.compatibility)
        use_log(Log())
