"""Django's own Content-Security-Policy: the middleware itself from Django 6 on, a stand-in for it before.

The stand-in does what `django.middleware.csp` of Django 6.0 does for a page. It gives the request a nonce that is made
when it is written for the first time and is false until then. It keeps it under the same name, and writes the same
headers.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject, empty

__all__ = ["MIDDLEWARE", "NONCE", "NONE", "SELF", "STRICT_DYNAMIC", "StandIn"]

NONE, SELF, STRICT_DYNAMIC = "'none'", "'self'", "'strict-dynamic'"
NONCE = "<CSP_NONCE_SENTINEL>"  # `django.utils.csp.CSP.NONCE`

#: What a project with Django 6 puts into MIDDLEWARE.
MIDDLEWARE = (
    "django.middleware.csp.ContentSecurityPolicyMiddleware"
    if django.VERSION >= (6,)
    else "tests.django_csp.StandIn"
)


class LazyNonce(SimpleLazyObject):
    """A nonce that is made when it is written for the first time, and is false until then."""

    def __init__(self) -> None:
        super().__init__(lambda: secrets.token_urlsafe(16))

    def __bool__(self) -> bool:
        return self.__dict__["_wrapped"] is not empty


class StandIn:
    """Write the headers of SECURE_CSP and SECURE_CSP_REPORT_ONLY."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Give the request a nonce, and the response its policies."""
        nonce = LazyNonce()
        vars(request)["_csp_nonce"] = nonce
        response = self.get_response(request)
        for header, name in (
            ("Content-Security-Policy", "SECURE_CSP"),
            ("Content-Security-Policy-Report-Only", "SECURE_CSP_REPORT_ONLY"),
        ):
            policy: Mapping[str, Sequence[str]] = getattr(settings, name, {})
            if policy and header not in response:
                response[header] = _write(policy, nonce)
        return response


def _write(policy: Mapping[str, Sequence[str]], nonce: Any) -> str:
    """Write a policy; where the page has not taken the nonce, its place stays empty."""
    filled = {
        name: [
            f"'nonce-{nonce}'" if value == NONCE else value
            for value in values
            if nonce or value != NONCE
        ]
        for name, values in policy.items()
    }
    return "; ".join(f"{name} {' '.join(values)}" for name, values in filled.items() if values)
