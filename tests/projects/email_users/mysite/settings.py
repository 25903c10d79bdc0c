"""Users have no user name: they log in by e-mail address."""

from mysite.base import *

INSTALLED_APPS = ["accounts", *INSTALLED_APPS]
AUTH_USER_MODEL = "accounts.User"
