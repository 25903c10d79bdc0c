"""The reference project without the limit for messages, for tests that are about something else."""

from tests.settings_site import *  # noqa: F403

DJWSBRIDGE_SEND_RATE = (100_000, 1.0)
DJWSBRIDGE_FRAME_RATE = (100_000, 1.0)
