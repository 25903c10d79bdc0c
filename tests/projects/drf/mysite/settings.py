"""A project whose own API has its own rules for everything that Django REST framework lets a project rule."""

from mysite.base import *

ROOT_URLCONF = "mysite.urls_of_drf"
SIMPLE_JWT["AUTH_HEADER_TYPES"] = ("JWT",)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["mysite.api.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["mysite.api.StaffOnly"],
    "DEFAULT_THROTTLE_CLASSES": [
        "rest_framework.throttling.AnonRateThrottle",
        "rest_framework.throttling.UserRateThrottle",
        "rest_framework.throttling.ScopedRateThrottle",
    ],
    "DEFAULT_THROTTLE_RATES": {"anon": "3/day", "user": "3/day"},
    "DEFAULT_RENDERER_CLASSES": ["mysite.api.EnvelopeRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "mysite.api.FirstRenderer",
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
    "ALLOWED_VERSIONS": ["v1", "v2"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 1,
    "EXCEPTION_HANDLER": "mysite.api.handle_exception",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
    "URL_FORMAT_OVERRIDE": "as",
}
