"""The other name under which the first seed offers `send_ws_message`."""

from djwsbridge.utils import asend_ws_message, send_ws_message

__all__ = ["asend_ws_message", "send_ws_message"]
