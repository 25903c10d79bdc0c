"""People and their messages are in one database, sessions and all the rest of the site in another."""

import os

import dj_database_url
from mysite.base import *

DATABASES = {
    "default": dj_database_url.parse(os.environ["DATABASE_URL"]),
    "messages": dj_database_url.parse(os.environ["MESSAGES_URL"]),
}
DATABASE_ROUTERS = ["mysite.routers.Router"]
