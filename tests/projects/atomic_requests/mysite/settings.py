"""Each request is a transaction on PostgreSQL, and threads keep their connections for a minute."""

import os

import dj_database_url
from mysite.base import *

DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=60)}
DATABASES["default"]["ATOMIC_REQUESTS"] = True
