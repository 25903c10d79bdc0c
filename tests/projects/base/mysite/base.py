"""What every project has: the lines of the README for its three ways, and static files by ServeStatic."""

from mysite.startproject import *

DEBUG = False
SECRET_KEY = "a key for tests only, long enough for every algorithm in use"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "daphne",
    *INSTALLED_APPS,
    "rest_framework",
    "channels",
    "djwsbridge",
    "djwsbridge.log",
    "djwsbridge.chat",
    "people",
]
ASGI_APPLICATION = "mysite.asgi.application"
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "djwsbridge_chat:index"
DATABASES["default"]["OPTIONS"] = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 5,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
}
MIDDLEWARE.insert(1, "servestatic.middleware.ServeStaticMiddleware")
# Django 6.1 and newer: `check --deploy` wants one that sends.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend"}}
STATIC_ROOT = BASE_DIR / "staticfiles"
SIMPLE_JWT = {"CHECK_REVOKE_TOKEN": True}
DJWSBRIDGE_CHAT_MODEL = "people.Chat"
DJWSBRIDGE_MESSAGE_MODEL = "people.Message"
