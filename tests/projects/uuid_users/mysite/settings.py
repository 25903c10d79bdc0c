"""The primary key of a user is a UUID."""

from mysite.base import *

INSTALLED_APPS = ["accounts", *INSTALLED_APPS]
AUTH_USER_MODEL = "accounts.User"
