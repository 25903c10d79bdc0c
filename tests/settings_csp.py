"""The site of the tests with another Content-Security-Policy than the reference project's own.

The environment variable POLICY says whose middleware writes it: `django`, or `django-csp`. With `-report-only` behind
it, nothing is blocked; such a policy lets in nothing without a nonce, not even the site's own files.
"""

import os

from csp import constants

from tests import django_csp
from tests.settings_site import *  # noqa: F403

POLICY = os.environ["POLICY"]
is_reported = POLICY.endswith("-report-only")
is_django = POLICY.removesuffix("-report-only") == "django"

nonce = django_csp.NONCE if is_django else constants.NONCE
directives = {
    "default-src": [django_csp.NONE],
    "script-src": [nonce, django_csp.STRICT_DYNAMIC] if is_reported else [django_csp.SELF, nonce],
    "style-src": [nonce] if is_reported else [django_csp.SELF],
    "img-src": [django_csp.SELF],
    "connect-src": [django_csp.SELF],
    "form-action": [django_csp.SELF],
}
if is_django:
    MIDDLEWARE = [django_csp.MIDDLEWARE if "csp" in name else name for name in MIDDLEWARE]  # noqa: F405
    SECURE_CSP = {} if is_reported else directives
    SECURE_CSP_REPORT_ONLY = directives if is_reported else {}
else:
    CONTENT_SECURITY_POLICY = None if is_reported else {"DIRECTIVES": directives}
    CONTENT_SECURITY_POLICY_REPORT_ONLY = {"DIRECTIVES": directives} if is_reported else None
