"""The site of the revocation tests: simplejwt's blacklist, and sliding tokens beside access tokens."""

from __future__ import annotations

from tests.security.site_settings import *  # noqa: F403
from tests.security.site_settings import INSTALLED_APPS, SIMPLE_JWT  # type: ignore[attr-defined]

INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework_simplejwt.token_blacklist"]
SIMPLE_JWT = {
    **SIMPLE_JWT,
    "AUTH_TOKEN_CLASSES": [
        "rest_framework_simplejwt.tokens.AccessToken",
        "rest_framework_simplejwt.tokens.SlidingToken",
    ],
}
