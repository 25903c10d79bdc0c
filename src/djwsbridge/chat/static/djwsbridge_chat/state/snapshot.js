// @ts-check
/** @import { Clock } from "djwsbridge/types.js" */
/** @import { Connection } from "djwsbridge/connection.js" */
/** @import { Timeline } from "djwsbridge/chat/state/timeline.js" */
import { Backoff } from "djwsbridge/backoff.js";
import { systemClock } from "djwsbridge/clock.js";
import { BridgeError, retryAfter } from "djwsbridge/protocol.js";

const PAGE = 500; // messages; the server's own bound. Who missed more starts over with the newest

/** Brings the timeline of a room up to where its pushes go on; nothing newer is shown before that. */
export class Snapshot {
  /** What must be fetched; it stays until it is here, over lost connections too. @type {{room: number, seq: number} | null} */
  #wanted = null;
  /** Whether it is being fetched. */
  #isLoading = false;
  #connection;
  #timeline;
  #clock;
  #backoff;

  /** @param {{connection: Connection, timeline: Timeline, clock?: Clock, random?: () => number}} options */
  constructor({ connection, timeline, clock = systemClock, random = Math.random }) {
    this.#connection = connection;
    this.#timeline = timeline;
    this.#clock = clock;
    this.#backoff = new Backoff({ random });
  }

  /** Fetch what is missing up to a seq, and whatever there is beyond. @param {number} room @param {number} seq */
  load(room, seq) {
    this.#wanted = { room, seq: Math.max(seq, this.#wanted?.seq ?? 0) };
    this.#timeline.hold();
    this.resume();
  }

  /** Go on fetching, if something is still missing: the connection is new. */
  async resume() {
    if (this.#isLoading || !this.#wanted) return;
    this.#isLoading = true;
    try {
      while (this.#wanted && (await this.#loadPage(this.#wanted.room)));
      this.#finish();
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#isLoading = false;
    }
  }

  /** @param {number} room @returns {Promise<boolean>} whether there is more. */
  async #loadPage(room) {
    const after = this.#timeline.last;
    const page = await this.#connection.request("message.list", { room, after, limit: PAGE });
    if (page.last_seq - after > PAGE) {
      const newest = await this.#connection.request("message.list", { room });
      this.#timeline.reset(newest.messages, newest.last_seq);
      return this.#isBehind(newest.last_seq);
    }
    const isAll = !page.more && !this.#isBehind(page.last_seq); // it is behind when a reset came while the page was on its way
    this.#timeline.absorb(page.messages, { isAll });
    return !isAll;
  }

  /** @param {number} seq */
  #isBehind(seq) {
    return seq < (this.#wanted?.seq ?? 0);
  }

  #finish() {
    if (this.#wanted) this.#connection.acknowledge(`room.${this.#wanted.room}`, Math.max(this.#wanted.seq, this.#timeline.last));
    this.#wanted = null;
    this.#backoff.reset();
  }

  /** @param {unknown} error */
  #failed(error) {
    if (!(error instanceof BridgeError) || !error.retryable) {
      this.#wanted = null; // the room is closed to this person
      this.#timeline.absorb([]);
    } else if (this.#connection.state === "online") {
      this.#clock.setTimeout(() => this.resume(), retryAfter(error) + this.#backoff.next());
    }
  }
}
