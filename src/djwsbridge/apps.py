"""The Django app of the core. It has no models, so `migrate` makes no tables for it."""

from __future__ import annotations

from channels.exceptions import InvalidChannelLayerError
from channels.layers import get_channel_layer
from django.apps import AppConfig

__all__ = ["DjwsbridgeConfig"]


class DjwsbridgeConfig(AppConfig):
    """Wire the core into the project."""

    name = "djwsbridge"
    verbose_name = "djwsbridge"

    def ready(self) -> None:
        """Register checks, commands and signals, and prepare the channel layer of this process for sending."""
        from djwsbridge import checks  # noqa: F401, PLC0415  registers itself, and the checks of the Store way
        from djwsbridge.consumers import send_to_user  # noqa: PLC0415
        from djwsbridge.protocol.frames import SendToUser  # noqa: PLC0415
        from djwsbridge.transport.auth.revocation import connect_signals  # noqa: PLC0415
        from djwsbridge.transport.commands import register_core_commands  # noqa: PLC0415
        from djwsbridge.transport.registry import register_command  # noqa: PLC0415

        register_core_commands()
        register_command(SendToUser, send_to_user, counts_as_send=True)
        connect_signals()
        _prepare_channel_layer()


def _prepare_channel_layer() -> None:
    """Let code of this process that calls `group_send` itself lose nothing either; see `raise_capacity`."""
    from djwsbridge.engine.channel_layer import raise_capacity  # noqa: PLC0415

    try:
        layer = get_channel_layer()
    except (InvalidChannelLayerError, TypeError, ValueError):
        return  # `manage.py check` and the first push say so
    if layer is not None:
        raise_capacity(layer)
