// @ts-check
/** @import { StateDetail } from "djwsbridge/types.js" */

/** Which state of a connection may follow which. @type {Readonly<Record<StateDetail["state"], ReadonlyArray<StateDetail["state"]>>>} */
const TRANSITIONS = Object.freeze({
  stopped: ["connecting"],
  connecting: ["online", "waiting", "stopped"],
  online: ["waiting", "stopped"],
  waiting: ["connecting", "stopped"],
});

/**
 * Refuse what cannot happen.
 * @param {StateDetail["state"]} from
 * @param {StateDetail["state"]} to
 */
export function checkTransition(from, to) {
  if (!TRANSITIONS[from].includes(to)) throw new Error(`A connection cannot go from ${from} to ${to}.`);
}
