"""The reference project with little patience for slow readers, which may be many and recover as often as they want."""

from tests.settings_impatient import *  # noqa: F403

DJWSBRIDGE_RECOVERY_RATE = (100_000, 1.0)
DJWSBRIDGE_CONNECTIONS_PER_USER = None
