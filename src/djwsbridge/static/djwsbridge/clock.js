// @ts-check
/** @import { Clock } from "djwsbridge/types.js" */

/** The clock of the machine: monotonic, so that a changed wall clock moves no time-out.
 * @type {Clock}
 */
export const systemClock = Object.freeze({
  now: () => performance.now(),
  setTimeout: (/** @type {() => void} */ run, /** @type {number} */ delayMs) => globalThis.setTimeout(run, delayMs),
  clearTimeout: (/** @type {any} */ timer) => globalThis.clearTimeout(timer),
});
