"""The reference project with whatever settings a test passes as JSON in the environment."""

from __future__ import annotations

import json
import os

from tests.settings_site import *  # noqa: F403

globals().update(json.loads(os.environ["SITE_SETTINGS"]))
