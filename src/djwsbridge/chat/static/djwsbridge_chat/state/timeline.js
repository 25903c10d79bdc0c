// @ts-check
/** @import { Message } from "djwsbridge/chat/state/types.js" */
import { TopicLog } from "djwsbridge/topic.js";

/**
 * The messages of the open room: ascending by seq, each once, never with a hole between the first and the last.
 *
 * Events: `change`.
 */
export class Timeline extends EventTarget {
  /** Ascending by seq. @type {Message[]} */
  #messages = [];
  /** Orders what arrives at the new end. @type {TopicLog<Message>} */
  #log = new TopicLog();
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

  /** The last seq shown; 0 when there is none. */
  get last() {
    return this.#log.last;
  }

  /** The first seq shown, or the one to ask before when nothing is shown. */
  get first() {
    return this.#messages[0]?.seq ?? this.last + 1;
  }

  /** Whether a message arrived ahead of one that is missing. */
  get hasGap() {
    return this.#log.hasGap;
  }

  get hasOlder() {
    return this.#hasOlder;
  }

  /** Take a live message, from a push or a reply. @param {Message} message */
  receive(message) {
    this.#append(this.#log.accept(message.seq, message));
  }

  /** Take what the server has directly after `last`, ascending. @param {Message[]} messages */
  absorb(messages) {
    this.#append(this.#log.absorb(messages.map((message) => [message.seq, message])));
  }

  /** Start over with the newest messages: too much was missed to fill in. @param {Message[]} messages @param {number} lastSeq */
  reset(messages, lastSeq) {
    this.#load(messages, lastSeq);
    this.#changed();
  }

  /** Put older messages before the first. @param {Message[]} messages  Ascending; none when the history ends here. */
  prepend(messages) {
    const older = messages.filter((message) => message.seq < this.first);
    this.#hasOlder = older.length > 0 && older[0].seq > 1;
    this.#messages = [...older, ...this.#messages];
    this.#changed();
  }

  /** @param {Message[]} messages @param {number} lastSeq */
  #load(messages, lastSeq) {
    this.#messages = [...messages].sort((a, b) => a.seq - b.seq);
    this.#log = new TopicLog({ last: this.#messages.at(-1)?.seq ?? lastSeq });
    this.#hasOlder = this.#messages.length > 0 && this.#messages[0].seq > 1;
  }

  /** @param {Message[]} messages */
  #append(messages) {
    if (messages.length === 0) return;
    this.#messages = [...this.#messages, ...messages];
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}
