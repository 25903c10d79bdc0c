// @ts-check
/**
 * The close codes and error codes of the protocol, as data. The same table is `djwsbridge/protocol/codes.py`;
 * a test fails when the two differ.
 */

/**
 * @typedef {object} CloseCodeRow
 * @property {string} name
 * @property {boolean} reconnect  Whether the client connects again by itself.
 * @property {number} [minDelayMs]  The client waits at least this long.
 * @property {boolean} [freshCredential]  A new ticket or token may help: the client asks for one, once.
 * @property {"login" | "reload" | "close_tabs" | "contact"} [advice]  What a person can do when the client stops.
 */

/** @type {Readonly<Record<number, CloseCodeRow>>} */
export const CLOSE_CODES = Object.freeze({
  1000: { name: "normal", reconnect: true },
  1001: { name: "going_away", reconnect: true },
  1003: { name: "unsupported_data", reconnect: false, advice: "reload" },
  1009: { name: "too_big", reconnect: true },
  1012: { name: "restart", reconnect: true },
  1013: { name: "try_later", reconnect: true },
  4400: { name: "bad_protocol", reconnect: false, advice: "reload" },
  4401: { name: "unauthorized", reconnect: false, freshCredential: true, advice: "login" },
  4403: { name: "forbidden", reconnect: false, advice: "contact" },
  4408: { name: "connect_timeout", reconnect: true },
  4409: { name: "replaced", reconnect: false, advice: "close_tabs" },
  4410: { name: "revoked", reconnect: false, advice: "login" },
  4411: { name: "token_expired", reconnect: true, freshCredential: true },
  4420: { name: "slow_consumer", reconnect: true },
  4421: { name: "heartbeat_lost", reconnect: true },
  4429: { name: "rate_limited", reconnect: true, minDelayMs: 10_000 },
  4430: { name: "too_many_connections", reconnect: false, advice: "close_tabs" },
  4500: { name: "internal", reconnect: true },
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
  return CLOSE_CODES[code] ?? { name: "unknown", reconnect: !(code >= 4500 && code <= 4999) };
}
