// @ts-check

/** What stands in the place of a text that was erased. */
export const ERASED = "This message was erased.";

const MAX_CHARACTERS = 8000; // the server's limit; checked here only to spare the way

/** What is seen; the server's table of blanks is in protocol/text.py, with the reason of each. */
const VISIBLE = new RegExp(
  "[^\\p{Z}\\p{Cc}\\p{Cf}\\p{M}\\p{Default_Ignorable_Code_Point}\\u2800\\u{13441}\\u{13442}\\u{1d159}]|"
  + "[\\u0600-\\u0605\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u{110bd}\\u{110cd}]", "u",
);

/** Say whether a text leaves anything on the screen; the server refuses a message that does not. @param {string} text */
export function isVisible(text) {
  return VISIBLE.test(text);
}

/**
 * Say what is wrong with a text before it is sent.
 * @param {string} body
 * @returns {string | null} a sentence, or null when it can be sent.
 */
export function checkBody(body) {
  const characters = [...body].length;
  if (characters <= MAX_CHARACTERS) return null;
  const format = new Intl.NumberFormat();
  return `A message has at most ${format.format(MAX_CHARACTERS)} characters; this one has ${format.format(characters)}.`;
}

/** How far one's own message has come, in words. */
const MARKS = /** @type {Record<string, string>} */ ({
  queued: "Waiting to be sent", sending: "Sending", failed: "Not sent", sent: "Sent", delivered: "Delivered", read: "Read",
});

/**
 * Say how far one's own message has come; where only some of several readers have it, or have read it, how many.
 * @param {string} state
 * @param {{delivered: number, read: number, of: number} | null} progress  Null while it is not sent.
 */
export function describeMark(state, progress) {
  const { delivered, read, of } = progress ?? { delivered: 0, read: 0, of: 0 };
  if (state === "delivered" && read > 0) return `${MARKS.delivered}, read by ${read} of ${of}`;
  if (state !== "sent" || delivered === 0) return MARKS[state];
  return `Delivered to ${delivered} of ${of}${read > 0 ? `, read by ${read}` : ""}`;
}

/** Give the letters of an avatar. @param {string} name */
export function initials(name) {
  const words = name.split(/[\s._-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]].map((word) => [...word][0]) : [[...name][0] ?? "?"];
  return letters.join("").toLocaleUpperCase();
}
