"""The reference project's settings, for the tests that run inside pytest's own process."""

from __future__ import annotations

import os
from unittest.mock import patch

# Not what the shell happens to hold, nor what it would make for itself in the repository.
ENVIRONMENT = {
    "SECRET_KEY": "a key for tests only, long enough for every algorithm in use",
    "DEBUG": "0",
    "HTTPS": "0",
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    "CSRF_TRUSTED_ORIGINS": "",
    "DATABASE_URL": "",
    "REDIS_URL": "",
    "LOG_LEVEL": "INFO",
}
with patch.dict(os.environ, ENVIRONMENT):
    from config.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DJWSBRIDGE_ENGINE = None  # whichever a test's CHANNEL_LAYERS ask for
