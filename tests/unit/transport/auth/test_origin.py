"""Which pages may open a socket with their visitor's session: exact origins of every scheme."""

from __future__ import annotations

from typing import Any

import pytest

from djwsbridge.transport.auth.origin import check_origin, find_fault
from tests.unit.transport.auth.test_session import scope_of


def is_allowed(origin: str | None, scope: dict[str, Any]) -> bool:
    return check_origin(origin, scope) is None


@pytest.fixture(autouse=True)
def _hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["example.com", "[2001:db8::1]"]


@pytest.mark.parametrize(
    ("origin", "scope", "allowed"),
    [
        ("http://example.com", scope_of(host="example.com"), True),
        ("http://example.com:80", scope_of(host="example.com"), True),
        ("http://EXAMPLE.com", scope_of(host="example.com"), True),
        ("https://example.com", scope_of(host="example.com"), False),
        ("https://example.com", scope_of("wss", host="example.com"), True),
        ("https://example.com:443", scope_of("wss", host="example.com"), True),
        ("http://example.com:8000", scope_of(host="example.com:8000"), True),
        ("http://example.com:8001", scope_of(host="example.com:8000"), False),
        ("http://[2001:db8::1]:8000", scope_of(host="[2001:db8::1]:8000"), True),
        ("http://evil.com", scope_of(host="evil.com"), False),  # a forged Host header
        ("http://evil.com", scope_of(host="example.com", x_forwarded_host="evil.com"), False),
        ("https://example.com", scope_of(host="example.com", x_forwarded_proto="https"), False),
        ("http://example.com/", scope_of(host="example.com"), False),
        ("http://example.com?", scope_of(host="example.com"), False),
        ("ws://example.com", scope_of(host="example.com"), False),
        ("http://", scope_of(host="example.com"), False),
        ("http://example.com", scope_of(), False),
        ("http://example.com", scope_of(host="example.com:evil"), False),
    ],
)
def test_the_site_itself_is_allowed_exactly(
    origin: str,
    scope: dict[str, Any],
    allowed: bool,  # noqa: FBT001
) -> None:
    assert is_allowed(origin, scope) is allowed


def test_a_proxy_of_ours_tells_scheme_and_host(settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.USE_X_FORWARDED_HOST = True
    scope = scope_of(host="worker1:8000", x_forwarded_host="example.com", x_forwarded_proto="https")
    assert is_allowed("https://example.com", scope)
    assert not is_allowed("http://example.com", scope)
    plain = scope_of("wss", host="example.com", x_forwarded_proto="http")
    assert not is_allowed("https://example.com", plain)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example.org", True),
        ("https://a.b.example.org", True),
        ("https://evilexample.org", False),
        ("http://app.example.org", False),
        ("https://app.example.org:444", False),
        ("https://one.test", True),
        ("http://example.com", False),  # a list of one's own replaces the site itself
    ],
)
def test_a_list_of_origins_replaces_the_default(
    settings: Any,
    origin: str,
    allowed: bool,  # noqa: FBT001
) -> None:
    settings.DJWSBRIDGE_ALLOWED_ORIGINS = ["https://*.example.org", "https://one.test"]
    assert is_allowed(origin, scope_of(host="example.com")) is allowed


def test_everybody_may_be_allowed(settings: Any) -> None:
    settings.DJWSBRIDGE_ALLOWED_ORIGINS = ["*"]
    assert is_allowed("https://evil.com", scope_of())
    assert is_allowed(None, scope_of())


APPS = [
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "app://.",
    "app://-",
    "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
    "moz-extension://b1c7a6e0-0d7b-4c39-9a57-0b9f3f6f2a11",
    "vscode-webview://0abc",
    "http://localhost",
    "https://localhost:8443",
    "http://[2001:db8::1]:8000",
]


@pytest.mark.parametrize("app", APPS)
def test_an_origin_of_any_scheme_is_compared_exactly(settings: Any, app: str) -> None:
    settings.DJWSBRIDGE_ALLOWED_ORIGINS = [app]
    assert find_fault(app) is None
    assert is_allowed(app, scope_of())
    assert is_allowed(app.upper(), scope_of())
    scheme, _, host = app.partition("://")
    strangers = [f"x{app}", f"{app}x", f"{app}/", f"{app}:1", f"https://{host}:1", f"evil@{app}"]
    strangers += [f"{scheme}://evil.{host}", f"{scheme}://a@{host}", f" {app}", f"{app}\n", scheme]
    assert [each for each in strangers if is_allowed(each, scope_of())] == []


def test_the_same_goes_for_the_trusted_origins_of_django(settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["capacitor://localhost", "https://*.example.org:444"]
    assert is_allowed("capacitor://localhost", scope_of(host="example.com"))
    assert is_allowed("https://a.example.org:444", scope_of(host="example.com"))
    assert not is_allowed("https://a.example.org", scope_of(host="example.com"))


def test_default_port_and_case_of_an_entry_do_not_matter(settings: Any) -> None:
    settings.DJWSBRIDGE_ALLOWED_ORIGINS = ["HTTPS://App.Example.com:443", "http://one.test:80"]
    assert is_allowed("https://app.example.com", scope_of())
    assert is_allowed("http://one.test", scope_of())
    assert not is_allowed("http://app.example.com:443", scope_of())


@pytest.mark.parametrize("origin", ["null", "file://", "file:///", "", None, "https://"])
def test_what_strangers_share_is_never_let_in(settings: Any, origin: str | None) -> None:
    settings.DJWSBRIDGE_ALLOWED_ORIGINS = ["null", "file://", "file:///", "", "https://"]
    assert not is_allowed(origin, scope_of())


@pytest.mark.parametrize("listed", ["https://*.example.com", "https://*.example.com, *"])
def test_a_text_instead_of_a_list_does_not_let_everybody_in(settings: Any, listed: str) -> None:
    """A `*` in a list stands for every page; a text holds one where a subdomain is meant."""
    settings.DJWSBRIDGE_ALLOWED_ORIGINS = listed
    assert not is_allowed("https://evil.com", scope_of())


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("https://app.example.com/", "goes on behind the host: write 'https://app.example.com'"),
        (
            "https://app.example.com/chat",
            "goes on behind the host: write 'https://app.example.com'",
        ),
        ("capacitor://localhost/", "goes on behind the host: write 'capacitor://localhost'"),
        ("app.example.com", "has no scheme: write 'https://app.example.com'"),
        ("localhost:3000", "has no scheme: write 'http://localhost:3000'"),
        ("*.example.com", "has no scheme: write 'https://*.example.com'"),
        ("wss://app.example.com", "a scheme that no page has: write 'https://app.example.com'"),
        ("ws://localhost:8000/", "a scheme that no page has: write 'http://localhost:8000'"),
        ("https://me@example.com", "names a user: write 'https://example.com'"),
        (" https://example.com", "holds a space: write 'https://example.com'"),
        ("https://a.example, https://b.example", "holds a space: write it like"),
        ("https://app*.example.com", "has a * where none can be: write it like"),
        ("chrome-extension://*", "has a * where none can be: write it like"),
        ("https://*", "has a * where none can be: write it like"),
        ("https://bücher.example", "browsers send it: write 'https://xn--bcher-kva.example'"),
        ("https://example.com:99999", "is no origin: write it like"),
        ("https://example.com:evil", "is no origin: write it like"),
        ("https://", "is no origin: write it like"),
        ("", "has no scheme: write it like"),
        ("null", "remove it"),
        ("file://", "remove it"),
        (None, "is no text"),
        (b"https://example.com", "is no text"),
    ],
)
def test_an_entry_that_no_page_can_have_is_a_fault(entry: object, fault: str) -> None:
    found = find_fault(entry)
    assert found is not None
    assert found.startswith(ascii(entry))
    assert fault in found


@pytest.mark.parametrize(
    ("origin", "scope", "reason", "words"),
    [
        (None, scope_of(host="example.com"), "origin_missing", ["['http://example.com']"]),
        (
            "https://example.com",
            scope_of(host="example.com"),
            "origin",
            ["SECURE_PROXY_SSL_HEADER"],
        ),
        ("https://evil.com", scope_of(host="example.com"), "origin", ["add its origin to CSRF"]),
        ("https://example.com", scope_of(host="inner"), "host", ["'inner'", "ALLOWED_HOSTS"]),
    ],
)
def test_a_refusal_says_what_mends_it(
    origin: str | None, scope: dict[str, Any], reason: str, words: list[str]
) -> None:
    denied = check_origin(origin, scope)
    assert denied is not None
    assert denied.reason == reason
    assert [word for word in words if word not in denied.text] == []


def test_a_refusal_by_a_list_of_ones_own_names_that_list(settings: Any) -> None:
    settings.DJWSBRIDGE_ALLOWED_ORIGINS = ["https://one.test"]
    denied = check_origin("https://example.com", scope_of(host="inner"))
    assert denied is not None
    assert denied.text.endswith("add its origin to DJWSBRIDGE_ALLOWED_ORIGINS")
    assert "['https://one.test']" in denied.text
