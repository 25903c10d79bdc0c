// @ts-check
/** @import { Message } from "djwsbridge/chat/state/types.js" */

const KEPT = 1000; // messages; a page that stays open for weeks must not grow with them

/**
 * The messages of the open room: ascending by seq, each once, never with a hole between the first and the last. The
 * connection brings them in order; between two of them other events of the room may have taken a seq.
 *
 * Events: `change`.
 */
export class Timeline extends EventTarget {
  /** Ascending by seq. @type {Message[]} */
  #messages = [];
  /** The seq up to which everything is here. */
  #last = 0;
  /** One's own messages that the server has confirmed and not pushed yet. @type {Message[]} */
  #echoes = [];
  /** What arrived while older ones are being fetched; null when nothing is missing. @type {Message[] | null} */
  #held = null;
  /** Whether the server may have messages before the first. */
  #hasOlder = false;

  /** @param {{messages: Message[], lastSeq: number}} page  The newest messages. */
  constructor({ messages, lastSeq }) {
    super();
    this.#load(messages, lastSeq);
  }

  /** @returns {readonly Message[]} */
  get messages() {
    return this.#messages;
  }

  /** @returns {readonly Message[]} */
  get echoes() {
    return this.#echoes;
  }

  /** The last seq shown; 0 when there is none. */
  get last() {
    return this.#last;
  }

  /** The first seq shown, or the one to ask before when nothing is shown. */
  get first() {
    return this.#messages[0]?.seq ?? this.#last + 1;
  }

  get hasOlder() {
    return this.#hasOlder;
  }

  /** Take a message that was pushed. @param {Message} message */
  receive(message) {
    if (this.#held) this.#held.push(message);
    else this.#append([message]);
  }

  /** Show one's own message that the server has confirmed, until its push is here. @param {Message} message */
  echo(message) {
    if (message.seq <= this.#last || this.#echoes.some(({ seq }) => seq === message.seq)) return;
    this.#echoes = [...this.#echoes, message].sort((a, b) => a.seq - b.seq);
    this.#changed();
  }

  /** Show nothing new until what is missing was fetched: `absorb` or `reset` ends it. */
  hold() {
    this.#held ??= [];
  }

  /** Take what the server has directly after `last`, ascending, then what was held. @param {Message[]} messages @param {{isAll?: boolean}} [options] */
  absorb(messages, { isAll = true } = {}) {
    const held = isAll ? this.#release() : [];
    this.#append([...messages, ...held]);
  }

  /** Start over with the newest messages: too much was missed to fill in. @param {Message[]} messages @param {number} lastSeq */
  reset(messages, lastSeq) {
    this.#load(messages, lastSeq);
    this.#append(this.#release());
    this.#changed();
  }

  /** Put older messages before the first. @param {Message[]} messages  Ascending; none when the history ends here. */
  prepend(messages) {
    const older = messages.filter((message) => message.seq < this.first);
    this.#hasOlder = older.length > 0 && older[0].seq > 1;
    this.#messages = [...older, ...this.#messages];
    this.#changed();
  }

  /** Let go of the oldest, when there are very many: for a reader who is at the end. They can be loaded again. */
  trim() {
    if (this.#messages.length <= KEPT) return;
    this.#messages = this.#messages.slice(-KEPT);
    this.#hasOlder = true;
  }

  /** @param {Message[]} messages @param {number} lastSeq */
  #load(messages, lastSeq) {
    this.#messages = [...messages].sort((a, b) => a.seq - b.seq);
    this.#last = this.#messages.at(-1)?.seq ?? lastSeq;
    this.#hasOlder = this.#messages.length > 0 && this.#messages[0].seq > 1;
  }

  #release() {
    const held = this.#held ?? [];
    this.#held = null;
    return held.sort((a, b) => a.seq - b.seq);
  }

  /** @param {Message[]} messages  Ascending. */
  #append(messages) {
    /** @type {Message[]} */
    const news = [];
    for (const message of messages) {
      if (message.seq <= this.#last) continue;
      this.#last = message.seq;
      news.push(message);
    }
    if (news.length === 0) return;
    this.#messages = [...this.#messages, ...news];
    this.#echoes = this.#echoes.filter(({ seq }) => seq > this.#last);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}
