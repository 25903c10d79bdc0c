"""The reference project as the fault rig runs it: no limits that a load of a few people from one address would meet."""

import os

from config.settings import *  # noqa: F403
from config.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.blocking.BlockingConfig"]
if os.environ.get("FAULTS_SABOTAGE"):
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.sabotage.SabotageConfig"]

if os.environ.get("FAULTS_LIMITS") != "default":
    DJWSBRIDGE_SEND_RATE = DJWSBRIDGE_FRAME_RATE = (1_000_000, 1.0)
DJWSBRIDGE_CONNECTIONS_PER_USER = DJWSBRIDGE_CONNECTIONS_PER_ADDRESS = None
if os.environ.get("FAULTS_CONNECTIONS"):
    DJWSBRIDGE_CONNECTIONS_PER_USER = int(os.environ["FAULTS_CONNECTIONS"])
DJWSBRIDGE_HEARTBEAT_INTERVAL = float(os.environ.get("FAULTS_HEARTBEAT", "25"))  # seconds
if os.environ.get("FAULTS_ENGINE"):
    DJWSBRIDGE_ENGINE = os.environ["FAULTS_ENGINE"]
    DJWSBRIDGE_REDIS_URL = os.environ["FAULTS_REDIS_URL"]
if os.environ.get("FAULTS_THREADS"):
    DJWSBRIDGE_SERVICE_THREADS = int(os.environ["FAULTS_THREADS"])
    DATABASES["default"]["OPTIONS"]["pool"]["max_size"] = DJWSBRIDGE_SERVICE_THREADS
