// @ts-check
/**
 * The close codes and error codes of the protocol, as data. The same table is `djwsbridge/protocol/codes.py`;
 * a test fails when the two differ.
 */

/**
 * What the client does after a close code:
 * `reconnect` with its own back-off; `reconnect_later` after the delay that the server named, or the row's;
 * `new_credential` once with a fresh ticket, token or cookie, then stop; `stop` and tell the person why.
 * @typedef {"reconnect" | "reconnect_later" | "new_credential" | "stop"} Reaction
 */

/**
 * @typedef {object} CloseCodeRow
 * @property {string} name
 * @property {Reaction} reaction
 * @property {number} [minDelayMs]  The client waits at least this long.
 * @property {"login" | "reload" | "close_tabs" | "contact"} [advice]  What a person can do when the client has stopped.
 */

/** @type {Readonly<Record<number, CloseCodeRow>>} */
export const CLOSE_CODES = Object.freeze({
  1000: { name: "normal", reaction: "reconnect" },
  1001: { name: "going_away", reaction: "reconnect" },
  1003: { name: "unsupported_data", reaction: "stop", advice: "reload" },
  1009: { name: "too_big", reaction: "reconnect" },
  1012: { name: "restart", reaction: "reconnect_later" },
  1013: { name: "try_later", reaction: "reconnect_later" },
  4400: { name: "bad_protocol", reaction: "stop", advice: "reload" },
  4401: { name: "unauthorized", reaction: "new_credential", advice: "login" },
  4403: { name: "forbidden", reaction: "stop", advice: "contact" },
  4408: { name: "connect_timeout", reaction: "reconnect" },
  4409: { name: "replaced", reaction: "stop", advice: "close_tabs" },
  4410: { name: "revoked", reaction: "stop", advice: "login" },
  4411: { name: "token_expired", reaction: "new_credential", advice: "login" },
  4420: { name: "slow_consumer", reaction: "reconnect" },
  4421: { name: "heartbeat_lost", reaction: "reconnect" },
  4429: { name: "rate_limited", reaction: "reconnect_later", minDelayMs: 10_000 },
  4430: { name: "too_many_connections", reaction: "reconnect_later", minDelayMs: 10_000 },
  4500: { name: "internal", reaction: "reconnect" },
});

/** Every code that a reply's `error` can carry. */
export const ERROR_CODES = Object.freeze([
  "bad_json", "bad_frame", "too_deep", "bad_text", "bad_field", "unknown_field", "unknown_type",
  "unsupported_binary", "unsupported_version", "too_large", "too_many", "empty_body", "bad_name",
  "auth_required", "already_authenticated", "ticket_used", "ticket_expired", "token_invalid", "token_expired", "revoked",
  "not_found", "forbidden", "bad_recipient", "conflict", "idempotency_conflict", "bad_ack", "edit_window_closed",
  "rate_limited", "busy", "db_unavailable", "commit_unknown", "storage_full", "type_mismatch", "image_too_large",
  "epoch_changed", "internal",
]);

/** The error codes after which the same command may succeed. */
export const RETRYABLE = Object.freeze(["rate_limited", "busy", "db_unavailable", "commit_unknown", "internal"]);

/**
 * Find the row of a close code; a code that the table does not name reconnects unless it is 4500 to 4999.
 * @param {number} code
 * @returns {CloseCodeRow}
 */
export function closeCodeRow(code) {
  const final = code >= 4500 && code <= 4999;
  return CLOSE_CODES[code] ?? { name: "unknown", reaction: final ? "stop" : "reconnect" };
}
