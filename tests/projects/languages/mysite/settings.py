"""Each page has its language in its address, and a missing slash is a missing page."""

from mysite.base import *

LANGUAGE_CODE = "de"
LANGUAGES = [("de", "Deutsch"), ("fr", "Français"), ("ar", "العربية")]
USE_THOUSAND_SEPARATOR = True
LOGIN_URL = "login"
APPEND_SLASH = False
TIME_ZONE = "Asia/Kolkata"
MIDDLEWARE.insert(
    MIDDLEWARE.index("django.middleware.common.CommonMiddleware"),
    "django.middleware.locale.LocaleMiddleware",
)
