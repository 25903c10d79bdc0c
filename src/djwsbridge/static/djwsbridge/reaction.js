// @ts-check
/** @import { CloseCodeRow } from "djwsbridge/codes.js" */
import { closeCodeRow } from "djwsbridge/codes.js";

const REFUSALS = [1013, 4429, 4500]; // and any error that came with the end

/**
 * @typedef {object} Ending  How a socket ended, and what follows.
 * @property {{closeCode: number | null, reason: string, message?: string}} detail  What is told of it.
 * @property {CloseCodeRow["advice"] | null} advice  What a person can do; null when the client goes on by itself.
 * @property {boolean} stops
 * @property {boolean} needsCredential  Whether the next attempt must bring a new one.
 * @property {number} atLeastMs  How long the server asks to wait.
 * @property {boolean} isRefused  Whether a server has sent the client away: it lives, and wants to see it later.
 */

/**
 * Decide what follows the end of a socket.
 * @param {number | null} closeCode  Null when the socket was simply dropped.
 * @param {object} context
 * @param {Record<string, any> | null} context.error  The server's last `error` push; `not_opened` where no socket was opened.
 * @param {boolean} context.isFresh  Whether the credential was a new one already.
 * @returns {Ending}
 */
export function reactTo(closeCode, { error, isFresh }) {
  // Daphne can send no 1009: it sends 1000, and the error push before it tells.
  const meant = closeCode === 1000 && error?.code === "too_large" ? 1009 : closeCode;
  const row = closeCodeRow(meant ?? 1006);
  const isRefused = row.reaction === "new_credential";
  const stops = row.reaction === "stop" || (isRefused && isFresh);
  return {
    detail: { closeCode: meant, reason: error?.code === "not_opened" ? "not_opened" : row.name, message: error?.message },
    advice: stops ? row.advice : null,
    stops,
    needsCredential: isRefused,
    atLeastMs: Math.max(row.minDelayMs ?? 0, Number(error?.retry_after_ms ?? 0)),
    isRefused: error !== null || REFUSALS.includes(meant ?? 1006),
  };
}
