"""The site is below /app of a host that has other sites, too; nginx passes the paths on without it."""

from mysite.base import *

FORCE_SCRIPT_NAME = "/app"
LOGIN_URL = "login"
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = "/app"
