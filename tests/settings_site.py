"""The reference project as the tests serve it: with passwords that cost nothing to hash.

As shipped, a sign-up costs half a second of a core. Tests of what is shipped name `config.settings`.
"""

from config.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
