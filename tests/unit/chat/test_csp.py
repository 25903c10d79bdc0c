"""The chat's pages under a Content-Security-Policy: whichever way a request has a nonce, the page carries it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from csp.constants import NONCE as DJANGO_CSP_NONCE
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.template import Context, Template
from django.test import Client

from djwsbridge.chat.checks import check_policy
from tests import django_csp

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HEADER = "Content-Security-Policy"
DJANGO = {"script-src": ["'self'", django_csp.NONCE]}
DJANGO_CSP = {"DIRECTIVES": {"script-src": ["'self'", DJANGO_CSP_NONCE]}}

# Whose middleware, its settings, and the header that they write.
POLICIES = {
    "django-csp": (
        ["csp.middleware.CSPMiddleware"],
        {"CONTENT_SECURITY_POLICY": DJANGO_CSP},
        HEADER,
    ),
    "django-csp, reported": (
        ["csp.middleware.CSPMiddleware"],
        {"CONTENT_SECURITY_POLICY": None, "CONTENT_SECURITY_POLICY_REPORT_ONLY": DJANGO_CSP},
        f"{HEADER}-Report-Only",
    ),
    "Django": ([django_csp.MIDDLEWARE], {"SECURE_CSP": DJANGO}, HEADER),
    "Django, reported": (
        [django_csp.MIDDLEWARE],
        {"SECURE_CSP": {}, "SECURE_CSP_REPORT_ONLY": DJANGO},
        f"{HEADER}-Report-Only",
    ),
    "both": (
        [django_csp.MIDDLEWARE, "csp.middleware.CSPMiddleware"],
        {"SECURE_CSP_REPORT_ONLY": DJANGO, "CONTENT_SECURITY_POLICY": DJANGO_CSP},
        HEADER,
    ),
    "both, the other way round": (
        ["csp.middleware.CSPMiddleware", django_csp.MIDDLEWARE],
        {"SECURE_CSP": DJANGO, "CONTENT_SECURITY_POLICY": None},
        HEADER,
    ),
}


def use_middleware(settings: Any, names: list[str]) -> None:
    others = [name for name in settings.MIDDLEWARE if "csp" not in name]
    settings.MIDDLEWARE = [*names, *others]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("path", ["/chat/", "/chat/nowhere/"])
def test_scripts_and_styles_carry_the_nonce_of_the_header(
    client: Client,
    alice: User,
    settings: Any,
    path: str,
    policy: tuple[list[str], dict[str, Any], str],
) -> None:
    names, values, header = policy
    use_middleware(settings, names)
    for name, value in values.items():
        setattr(settings, name, value)
    client.force_login(alice)
    answer: Any = client.get(path)
    found = re.search(r"'nonce-([^']+)'", answer.headers[header])
    assert found, answer.headers
    tags = re.findall(r"<(?:script|link)\b[^>]*>", answer.text)
    guarded = [tag for tag in tags if "application/json" not in tag and 'rel="icon"' not in tag]
    assert len(guarded) > 30
    assert {re.search(r' nonce="([^"]*)"', tag)[1] for tag in guarded} == {found[1]}  # type: ignore[index]


def test_without_a_policy_there_is_no_nonce(client: Client, alice: User, settings: Any) -> None:
    use_middleware(settings, [])
    client.force_login(alice)
    answer: Any = client.get("/chat/")
    assert "nonce" not in answer.text


def test_a_page_that_is_rendered_without_a_request_has_none() -> None:
    assert Template("{% load djwsbridge_chat %}<i{% nonce_attribute %}>").render(Context()) == "<i>"


@pytest.mark.parametrize(
    ("middleware", "values", "found"),
    [
        (django_csp.MIDDLEWARE, {"SECURE_CSP": {"script-src": ["'self'"]}}, ["SECURE_CSP"]),
        (django_csp.MIDDLEWARE, {"SECURE_CSP": {"default-src": "'self'"}}, ["SECURE_CSP"]),
        (django_csp.MIDDLEWARE, {"SECURE_CSP": DJANGO}, []),
        (django_csp.MIDDLEWARE, {"SECURE_CSP": {"img-src": ["'self'"]}}, []),
        (django_csp.MIDDLEWARE, {"SECURE_CSP": {"script-src": ["'unsafe-inline'"]}}, []),
        (
            "csp.middleware.CSPMiddleware",
            {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"script-src": ["'self'"]}}},
            ["CONTENT_SECURITY_POLICY"],
        ),
        ("csp.middleware.CSPMiddleware", {"CONTENT_SECURITY_POLICY": DJANGO_CSP}, []),
        (
            "django.middleware.common.CommonMiddleware",
            {"SECURE_CSP": {"script-src": ["'self'"]}},
            [],
        ),
    ],
)
def test_a_policy_that_blocks_the_import_map_is_warned_of(
    settings: Any, middleware: str, values: dict[str, Any], found: list[str]
) -> None:
    use_middleware(settings, [middleware])
    settings.CONTENT_SECURITY_POLICY = None
    for name, value in values.items():
        setattr(settings, name, value)
    warnings = [one for one in run_checks() if one.id == "djwsbridge_chat.W001"]
    assert [name for name in values for one in warnings if f" {name} " in one.msg] == found


def test_a_project_without_the_pages_is_not_warned(settings: Any) -> None:
    use_middleware(settings, [django_csp.MIDDLEWARE])
    settings.SECURE_CSP = {"script-src": ["'self'"]}
    settings.ROOT_URLCONF = "tests.urls"
    assert check_policy(None) == []
