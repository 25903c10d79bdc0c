// @ts-check
/** @import { User } from "djwsbridge/types.js" */
/** @import { OutboxEntry } from "djwsbridge/outbox.js" */
/** @import { Progress } from "djwsbridge/chat/state/receipts.js" */
/** @import { Message } from "djwsbridge/chat/state/types.js" */

const GROUP_WITHIN = 5 * 60_000; // ms; a longer pause starts a new group, so that its time is seen

/**
 * @typedef {object} MessageItem
 * @property {"message"} kind
 * @property {string} key
 * @property {boolean} own
 * @property {boolean} first  Starts a group of one author: shows name and avatar.
 * @property {User["id"] | null} authorId
 * @property {string} author
 * @property {string} body
 * @property {string} created
 * @property {number | null} seq  Null until confirmed.
 * @property {string} clientMessageId
 * @property {OutboxEntry["state"] | "sent" | "delivered" | "read"} state  Of somebody else's message always `sent`.
 * @property {Progress | null} progress  How many of its readers have it; null of somebody else's message and of one not sent.
 * @property {{code: string, message: string} | null} error
 */
/** @typedef {{kind: "day", key: string, created: string}} DayItem */
/** @typedef {{kind: "unread", key: "unread"}} UnreadItem */
/** @typedef {MessageItem | DayItem | UnreadItem} TimelineItem */

/**
 * Lay out what the timeline shows: confirmed messages, then what waits, with days and the mark of the first unread one.
 * An item keeps its key when its message is confirmed, so that nothing on the page is replaced.
 * @param {object} options
 * @param {readonly Message[]} options.messages
 * @param {readonly Message[]} [options.echoes]  One's own that are confirmed, but whose turn has not come.
 * @param {readonly OutboxEntry[]} options.entries
 * @param {User} options.user
 * @param {boolean} options.isOnline  Whether what waits is on its way.
 * @param {number | null} options.readSeq  What was read when the room was opened; null for no mark.
 * @param {(seq: number) => Progress | null} [options.progressOf]  How far one's own message has come.
 * @param {(iso: string) => string} [options.dayOf]
 * @returns {TimelineItem[]}
 */
export function layoutTimeline({
  messages, echoes = [], entries, user, isOnline, readSeq, progressOf = () => null, dayOf = localDay,
}) {
  const stored = [...messages, ...echoes];
  const confirmed = new Set(stored.filter((each) => each.sender.id === user.id).map((each) => each.client_message_id));
  const all = [
    ...stored.map((message) => fromMessage(message, user, progressOf)),
    ...entries.filter((entry) => !confirmed.has(entry.client_message_id)).map((entry) => fromEntry(entry, user, isOnline)),
  ];
  /** @type {TimelineItem[]} */
  const items = [];
  /** @type {MessageItem | null} */
  let previous = null;
  let unreadMarked = readSeq === null;
  for (const item of all) {
    if (!previous || dayOf(previous.created) !== dayOf(item.created)) {
      items.push({ kind: "day", key: `day ${item.key}`, created: item.created });
      previous = null;
    }
    if (!unreadMarked && !item.own && item.seq !== null && item.seq > /** @type {number} */ (readSeq)) {
      items.push({ kind: "unread", key: "unread" });
      unreadMarked = true;
      previous = null;
    }
    items.push({ ...item, first: !previous || !sameGroup(previous, item) });
    previous = item;
  }
  return items;
}

/** @param {MessageItem} before @param {MessageItem} after */
function sameGroup(before, after) {
  return before.authorId === after.authorId && before.author === after.author
    && Math.abs(Date.parse(after.created) - Date.parse(before.created)) < GROUP_WITHIN;
}

/** @param {Message} message @param {User} user @param {(seq: number) => Progress | null} progressOf @returns {MessageItem} */
function fromMessage(message, user, progressOf) {
  const { sender, seq, body, created, client_message_id: clientMessageId } = message;
  const own = sender.id === user.id;
  const progress = own ? progressOf(seq) : null;
  return {
    kind: "message", key: `${sender.id} ${clientMessageId}`, own, first: true, authorId: sender.id, author: sender.name,
    body, created, seq, clientMessageId, state: progress?.state ?? "sent", progress, error: null,
  };
}

/** @param {OutboxEntry} entry @param {User} user @param {boolean} isOnline @returns {MessageItem} */
function fromEntry({ client_message_id: clientMessageId, body, created, state: stored, error }, user, isOnline) {
  const state = stored === "queued" && isOnline ? "sending" : stored;
  return {
    kind: "message", key: `${user.id} ${clientMessageId}`, own: true, first: true,
    authorId: user.id, author: user.name, body, created, seq: null, clientMessageId, state, progress: null, error,
  };
}

/** The reader's own calendar day. @param {string} iso */
function localDay(iso) {
  const date = new Date(iso);
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;
}
