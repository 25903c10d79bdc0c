"""The reference project with the views of `tests.pages`, and a pool in which one lost connection is missed."""

from tests.settings_site import *  # noqa: F403
from tests.settings_site import DATABASES

ROOT_URLCONF = "tests.pages"
DATABASES["default"]["OPTIONS"]["pool"] = {
    "min_size": 1,
    "max_size": 2,
    "timeout": 3,
    "reconnect_timeout": 2,
}
