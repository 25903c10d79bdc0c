// @ts-check
/** @import { StateDetail } from "djwsbridge/types.js" */

/**
 * @typedef {object} Status  What the page says about the connection.
 * @property {"online" | "busy" | "offline" | "stopped"} tone
 * @property {string} text  For the status line; two words or so.
 * @property {string} help  What it means for the person, and what they can do; empty when all is well.
 * @property {string} action  What loading the page anew is called; empty when it would not help.
 */

/** @type {Readonly<Record<string, {text: string, help: string, action: string}>>} */
const STOPPED = Object.freeze({
  login: { text: "Signed out", help: "Your session has ended. Log in again to go on.", action: "Log in" },
  reload: { text: "Disconnected", help: "This page is out of date. Reload it to go on.", action: "Reload" },
  close_tabs: { text: "Disconnected", help: "The chat is open in too many places. Close other tabs, then reload this one.", action: "Reload" },
  contact: { text: "Disconnected", help: "This account cannot use the chat. Ask the people who run this site.", action: "" },
});

const TOO_MANY = Object.freeze({
  text: "Waiting…", help: "The chat is open in too many places. Close another tab, and this one connects by itself.", action: "",
});

/**
 * Put the state of the connection into words.
 * @param {StateDetail} detail
 * @param {{wasOnline: boolean, networkDown: boolean, inDoubt?: boolean, refusal?: string}} options  `inDoubt`: the browser says that
 *   the network is gone, and the server has not shown yet that it is not. `refusal`: why the site opens no socket.
 * @returns {Status}
 */
export function describeStatus(detail, { wasOnline, networkDown, inDoubt = false, refusal = "" }) {
  if (detail.state === "online" && inDoubt) return { tone: "busy", text: "Checking…", help: "", action: "" };
  if (detail.state === "online") return { tone: "online", text: "Connected", help: "", action: "" };
  if (detail.state === "stopped") {
    const other = { text: "Disconnected", help: "The connection has ended. Reload this page to connect again.", action: "Reload" };
    return { tone: "stopped", ...(STOPPED[detail.advice ?? ""] ?? other) };
  }
  const help = "No connection. What you write is kept and sent later.";
  if (networkDown) return { tone: "offline", text: "Offline", help, action: "" };
  if (detail.state === "waiting" && detail.reason === "too_many_connections") return { tone: "busy", ...TOO_MANY };
  if (refusal) return { tone: "offline", text: "Not let in", help: refusal, action: "" };
  if (!wasOnline && detail.state === "connecting") return { tone: "busy", text: "Connecting…", help: "", action: "" };
  return { tone: "busy", text: "Reconnecting…", help, action: "" };
}
