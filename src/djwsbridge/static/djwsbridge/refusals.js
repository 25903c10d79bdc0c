// @ts-check
/** @import { Connection } from "djwsbridge/connection.js" */
/** @import { Refusal, StateDetail } from "djwsbridge/types.js" */

const UNREACHED_FAILURES = 4; // in a row; a restart has ended by then

/**
 * Find out why no socket opens. To a page, a browser shows a refused handshake as it shows a lost network (close code 1006).
 * So when handshakes fail in a row, ask the site by HTTP, and tell what it says as the event `refused` of the connection
 * (detail: Refusal). Without a network there is no answer, and no event. That the server is not reached is told later than
 * a refusal: while only the processes with the sockets restart, the site answers that it would let the page in.
 * @param {Connection} connection
 * @param {object} options
 * @param {string} options.url  Of the site's `socket/` view.
 * @param {string} options.origin  Of this page: `location.origin`.
 * @param {typeof globalThis.fetch} [options.fetch]
 */
export function watchRefusals(connection, { url, origin, fetch = globalThis.fetch?.bind(globalThis) }) {
  let failures = 0; // handshakes in a row
  connection.addEventListener("state", async (event) => {
    const { state, closeCode, reason, message } = /** @type {CustomEvent<StateDetail>} */ (event).detail;
    if (state === "connecting" || reason === "not_opened") return; // without a credential there was no handshake
    const isUnexplained = (closeCode === null || closeCode === 1006) && message === undefined; // else the server has said why
    failures = state === "waiting" && isUnexplained ? failures + 1 : 0;
    if (failures < 2 || !Number.isInteger(Math.log2(failures))) return; // at the 2nd, 4th, 8th …: a site is not asked all the time
    const detail = await ask(fetch, `${url}?origin=${encodeURIComponent(origin)}`);
    if (!detail || failures < (detail.reason === "unreached" ? UNREACHED_FAILURES : 1)) return;
    connection.dispatchEvent(new CustomEvent("refused", { detail }));
  });
}

/**
 * @param {typeof globalThis.fetch} fetch
 * @param {string} url
 * @returns {Promise<Refusal | null>} null when the site does not say.
 */
async function ask(fetch, url) {
  try {
    const response = await fetch(url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
    return response.ok ? await response.json() : null;
  } catch {
    return null; // no network, or no JSON
  }
}
