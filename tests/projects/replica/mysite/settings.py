"""What is read comes from a replica of the database, which is some seconds behind."""

import os

import dj_database_url
from mysite.base import *

DATABASES = {
    "default": dj_database_url.parse(os.environ["DATABASE_URL"]),
    "replica": dj_database_url.parse(os.environ["REPLICA_URL"]),
}
DATABASES["replica"]["TEST"] = {"MIRROR": "default"}
DATABASE_ROUTERS = ["mysite.routers.ReplicaRouter"]
# A session must be there when the page after the login is asked for.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
