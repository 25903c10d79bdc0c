// @ts-check
/** Web and mail addresses in a message. The time grows with the text, not faster: no character is looked at again and again. */

/** Where an address may begin, or the `@` in one. `www.` counts at the beginning of a word, `@` before a name with a dot. */
const BEGINNING = /https?:\/\/|(?<![\w.@/-])www\.|@(?=[^\s@.]{1,63}\.)/giu;

/** What ends a web address: blanks, quotes, and the punctuation of languages that write no blank behind an address. */
const END = /[\s<>"`“”„«»—…\u3000-\u3003\u3008-\u3020\u3030\u303d\ufe10-\ufe19\ufe30-\ufe6b\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff64]/u;
/** What belongs to the sentence when it stands last: its punctuation (also Hebrew, Arabic, Indic …), quotes, open brackets. */
const TRAILING = /[.,;:!?'‘’([{\u0589\u05c3\u060c\u061b\u061f\u06d4\u0964\u0965\u104a\u104b\u1362-\u1368\u17d4-\u17d6]/u;
const BRACKETS = /** @type {Record<string, string>} */ ({ ")": "(", "]": "[", "}": "{" });
const CLOSING_QUOTES = /** @type {Record<string, string>} */ ({ "'": "'", "‘": "’" });
const AUTHORITY = /^https?:[/\\]*([^/\\?#]*)/iu;
const WWW_HOST = /^www\.[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+/iu;
const MOST_OF_AUTHORITY = 512; // characters; a name in the DNS has 253, and browsers need long for the longest

/** The scripts that write blanks between words. In others the sentence runs into the address. */
const LETTERS = "\\p{Script=Latin}\\p{Script=Greek}\\p{Script=Cyrillic}";
const MAILBOX_CHARACTER = new RegExp(`[${LETTERS}0-9.+_%'-]`, "u");
const MAILBOX = /^[^.'](?:\.?[^.])*$/u;
const MAIL_DOMAIN = new RegExp(
  `^(?:[${LETTERS}0-9](?:[${LETTERS}0-9-]*[${LETTERS}0-9])?\\.)+(?:xn--[a-z0-9-]+|[${LETTERS}]{2,})(?![${LETTERS}0-9@-])`, "iu",
);
const MOST_OF_MAILBOX = 64; // characters (RFC 5321, 4.5.3.1.1)
const MOST_OF_MAIL_DOMAIN = 253; // characters (RFC 1035, 2.3.4)

/** @typedef {{text: string, href: string | null}} Part */
/** @typedef {{from: number, to: number, href: string | null}} Address  Without an `href` it is none. */

/**
 * Cut a text into plain parts and addresses. An `href` is an http:, https: or mailto: address, never another one.
 * @param {string} text
 * @returns {Part[]}
 */
export function splitLinks(text) {
  /** @type {Part[]} */
  const parts = [];
  const beginning = new RegExp(BEGINNING);
  let end = 0;
  for (let match = beginning.exec(text); match; match = beginning.exec(text)) {
    const { from, to, href } = match[0] === "@" ? readMail(text, match.index, end) : readWeb(text, match);
    beginning.lastIndex = to;
    if (!href) continue;
    if (from > end) parts.push({ text: text.slice(end, from), href: null });
    parts.push({ text: text.slice(from, to), href });
    end = to;
  }
  if (end < text.length) parts.push({ text: text.slice(end), href: null });
  return parts;
}

/** @param {string} text @param {RegExpExecArray} beginning @returns {Address} */
function readWeb(text, { 0: { length }, index: from }) {
  const to = Math.max(findWebEnd(text, from), from + length);
  const address = text.slice(from, to);
  if (!/^www/iu.test(address)) return { from, to, href: parseWeb(address) };
  const host = WWW_HOST.exec(address)?.[0];
  if (!host) return { from, to, href: null };
  const whole = "/?#:".includes(address.charAt(host.length)) ? address : host;
  return { from, to: from + whole.length, href: parseWeb(`https://${whole}`) };
}

/**
 * Find where a web address ends: brackets belong to it in pairs, an apostrophe unless it closes a quotation.
 * @param {string} text
 * @param {number} from
 */
function findWebEnd(text, from) {
  const quote = CLOSING_QUOTES[text.charAt(from - 1)];
  /** @type {Record<string, number>} */
  const open = { "(": 0, "[": 0, "{": 0 };
  let to = from;
  for (; to < text.length; to += 1) {
    const character = text[to];
    if (END.test(character)) break;
    if (character === quote && !/[\p{L}\p{N}]/u.test(text.charAt(to + 1))) break;
    if (character in open) open[character] += 1;
    else if (character in BRACKETS && (open[BRACKETS[character]] -= 1) < 0) break;
  }
  while (to > from && TRAILING.test(text[to - 1])) to -= 1;
  return to;
}

/** @param {string} address @returns {string | null} */
function parseWeb(address) {
  const authority = AUTHORITY.exec(address)?.[1] ?? "";
  if (authority === "" || authority.length > MOST_OF_AUTHORITY) return null;
  try {
    const { protocol, href } = new URL(address);
    return ["http:", "https:"].includes(protocol) ? href : null;
  } catch {
    return null;
  }
}

/**
 * Read the mail address around an `@`.
 * @param {string} text
 * @param {number} at
 * @param {number} earliest  The end of the address before it.
 * @returns {Address}
 */
function readMail(text, at, earliest) {
  let from = at;
  while (from > earliest && at - from <= MOST_OF_MAILBOX && MAILBOX_CHARACTER.test(text[from - 1])) from -= 1;
  while (".'".includes(text[from])) from += 1;
  const mailbox = text.slice(from, at);
  const isMailbox = mailbox.length <= MOST_OF_MAILBOX && MAILBOX.test(mailbox) && !"@/".includes(text.charAt(from - 1) || " ");
  const domain = isMailbox && MAIL_DOMAIN.exec(text.slice(at + 1, at + 1 + MOST_OF_MAIL_DOMAIN))?.[0];
  if (!domain) return { from, to: at + 1, href: null };
  const href = `mailto:${encodeURIComponent(mailbox)}@${encodeURIComponent(domain)}`;
  return { from, to: at + 1 + domain.length, href };
}
