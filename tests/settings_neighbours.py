"""The reference project with an engine of one process, which looks often for other server processes."""

from djwsbridge import neighbours
from tests.settings_site import *  # noqa: F403

DJWSBRIDGE_ENGINE = "memory"
neighbours.INTERVAL = 0.3
