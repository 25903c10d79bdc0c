"""The closed lists of codes: complete, and the same wherever they are written."""

from __future__ import annotations

import re

import pytest

from djwsbridge.protocol.codes import (
    CLOSE_POLICIES,
    ERROR_TEXTS,
    RETRYABLE,
    STAND_INS,
    CloseCode,
    ErrorCode,
    Reaction,
)
from djwsbridge.protocol.errors import CloseConnection, CommandError, DjwsbridgeError
from tests.servers import ROOT

# The table of close codes: code, name, what the client does.
CLOSE_CODES = {
    1000: ("normal", Reaction.RECONNECT),
    1001: ("going_away", Reaction.RECONNECT),
    1003: ("unsupported_data", Reaction.STOP),
    1009: ("too_big", Reaction.RECONNECT),
    1012: ("restart", Reaction.RECONNECT_LATER),
    1013: ("try_later", Reaction.RECONNECT_LATER),
    4400: ("bad_protocol", Reaction.STOP),
    4401: ("unauthorized", Reaction.NEW_CREDENTIAL),
    4403: ("forbidden", Reaction.STOP),
    4408: ("connect_timeout", Reaction.RECONNECT),
    4409: ("replaced", Reaction.STOP),
    4410: ("revoked", Reaction.STOP),
    4411: ("token_expired", Reaction.NEW_CREDENTIAL),
    4420: ("slow_consumer", Reaction.RECONNECT),
    4421: ("heartbeat_lost", Reaction.RECONNECT),
    4429: ("rate_limited", Reaction.RECONNECT_LATER),
    4430: ("too_many_connections", Reaction.RECONNECT_LATER),
    4500: ("internal", Reaction.RECONNECT),
}
ERROR_CODES = [
    "bad_json",
    "bad_frame",
    "too_deep",
    "bad_text",
    "bad_field",
    "unknown_field",
    "unknown_type",
    "unsupported_binary",
    "unsupported_version",
    "too_large",
    "too_many",
    "empty_body",
    "bad_name",
    "auth_required",
    "already_authenticated",
    "ticket_used",
    "ticket_expired",
    "token_invalid",
    "token_expired",
    "revoked",
    "not_found",
    "forbidden",
    "bad_recipient",
    "conflict",
    "idempotency_conflict",
    "bad_ack",
    "edit_window_closed",
    "rate_limited",
    "busy",
    "db_unavailable",
    "commit_unknown",
    "storage_full",
    "type_mismatch",
    "image_too_large",
    "epoch_changed",
    "internal",
]
RETRYABLE_CODES = {"rate_limited", "busy", "db_unavailable", "commit_unknown", "internal"}
SCRIPT = (ROOT / "src" / "djwsbridge" / "static" / "djwsbridge" / "codes.js").read_text()


def script_list(name: str) -> list[str]:
    """Return the strings of a frozen array of the JavaScript client."""
    found = re.search(rf"const {name} = Object\.freeze\(\[(.*?)\]\)", SCRIPT, re.DOTALL)
    assert found is not None
    return re.findall(r'"([a-z_]+)"', found[1])


def test_the_error_codes_are_the_closed_list() -> None:
    assert [code.value for code in ErrorCode] == ERROR_CODES


def test_every_error_code_has_a_sentence() -> None:
    assert set(ERROR_TEXTS) == set(ErrorCode)
    for text in ERROR_TEXTS.values():
        assert re.fullmatch(r"[A-Z].*\.", text)
    assert len(set(ERROR_TEXTS.values())) == len(ERROR_TEXTS)


def test_the_retryable_codes() -> None:
    assert {code.value for code in RETRYABLE} == RETRYABLE_CODES


def test_the_close_codes_are_the_table() -> None:
    assert {
        int(code): (policy.name, policy.reaction) for code, policy in CLOSE_POLICIES.items()
    } == CLOSE_CODES
    assert set(CLOSE_POLICIES) == set(CloseCode)


def test_what_is_sent_instead_of_a_code_asks_for_the_same_or_less() -> None:
    for code, other in STAND_INS.items():
        assert code < 3000
        stops = {CLOSE_POLICIES[one].reaction is Reaction.STOP for one in (code, other)}
        assert len(stops) == 1


def test_the_script_knows_the_same_close_codes() -> None:
    rows = re.findall(r'^  (\d{4}): \{ name: "(\w+)", reaction: "(\w+)"', SCRIPT, re.MULTILINE)
    assert {int(code): (name, Reaction(reaction)) for code, name, reaction in rows} == CLOSE_CODES


def test_the_script_knows_the_same_error_codes() -> None:
    assert script_list("ERROR_CODES") == ERROR_CODES
    assert set(script_list("RETRYABLE")) == RETRYABLE_CODES


@pytest.mark.parametrize("code", ErrorCode)
def test_an_error_builds_its_text_from_its_code(code: ErrorCode) -> None:
    error = CommandError(code, limit=5)
    assert isinstance(error, DjwsbridgeError)
    assert (error.message, error.details) == (ERROR_TEXTS[code], {"limit": 5})
    assert str(error) == f"{code.value}: {ERROR_TEXTS[code]}"
    assert error.retryable == (code.value in RETRYABLE_CODES)
    assert CommandError(code, "Another sentence.").message == "Another sentence."


def test_a_reason_to_close_builds_its_text_from_its_codes() -> None:
    reason = CloseConnection(CloseCode.REVOKED, CommandError(ErrorCode.REVOKED))
    assert str(reason) == "4410 revoked: The session has ended. Log in again."
