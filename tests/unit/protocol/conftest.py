"""Property tests without a stopwatch: how long a frame may take is measured by tests of its own."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("djwsbridge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("djwsbridge")
