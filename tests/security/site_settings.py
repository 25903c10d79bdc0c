"""The reference project with whatever settings a test passes as JSON in the environment."""

from __future__ import annotations

import json
import os

from config.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

globals().update(json.loads(os.environ["SITE_SETTINGS"]))
