"""An old project: moments without time zones. It pushes and stores; the log and the chat need USE_TZ."""

from mysite.base import *

USE_TZ = False
TIME_ZONE = "America/New_York"
INSTALLED_APPS = [one for one in INSTALLED_APPS if one not in {"djwsbridge.log", "djwsbridge.chat"}]
ROOT_URLCONF = "mysite.urls_without_chat"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "/letters/"
