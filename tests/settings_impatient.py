"""The reference project without the limit for messages, and with little patience for slow readers."""

from tests.settings_without_limits import *  # noqa: F403

DJWSBRIDGE_SLOW_TIMEOUT = 3.0
