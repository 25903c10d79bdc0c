// @ts-check
/** @import { Clock } from "djwsbridge/types.js" */
/** @import { Connection } from "djwsbridge/connection.js" */
/** @import { MemberSeen, Room } from "djwsbridge/chat/state/types.js" */
/** @import { Presence } from "djwsbridge/chat/state/presence.js" */
/** @import { RoomList } from "djwsbridge/chat/state/rooms.js" */

const AT_ONCE = 20; // topics: a sixth of the frames that the server allows a minute
const PAUSE = 2_000; // ms between two questions about the others: a quarter of these frames

/** Asks the server who is online. */
export class PresenceLoader {
  #connection;
  #presence;
  #rooms;
  #clock;
  /** @type {Set<string>} */
  #announced = new Set();
  /** The timer of the next question; null when there is none. @type {unknown} */
  #timer = null;

  /** @param {{connection: Connection, presence: Presence, rooms: RoomList, clock: Clock}} options */
  constructor({ connection, presence, rooms, clock }) {
    this.#connection = connection;
    this.#presence = presence;
    this.#rooms = rooms;
    this.#clock = clock;
  }

  /**
   * Ask anew who is online, and forget what was known: first about the open room and the direct ones, whose lists show
   * it. The first answers come at once, and the others one by one. Of other groups, a few are enough. Of announced
   * rooms the server pushes no changes, so that they are asked about again and again.
   * @param {string[]} topics
   * @param {string[]} announced
   * @param {string | null} open
   */
  async loadAll(topics, announced, open) {
    this.#announced = new Set(announced);
    const rooms = [...topics, ...announced].filter((topic) => topic.startsWith("room."));
    const shown = rooms.filter((topic) => topic === open || this.#roomOf(topic)?.kind === "direct");
    shown.sort((a, b) => Number(b === open) - Number(a === open));
    const wanted = [...new Set([...shown, ...rooms.slice(0, Math.max(0, AT_ONCE - shown.length))])];
    this.#clock.clearTimeout(this.#timer);
    this.#presence.keep(wanted);
    const first = wanted.slice(0, AT_ONCE);
    await Promise.all(first.map((topic) => this.load(topic)));
    this.#loadLater([...wanted.slice(AT_ONCE), ...first.filter((topic) => this.#announced.has(topic) && topic !== open)]);
  }

  /** @param {string[]} topics */
  #loadLater(topics) {
    this.#clock.clearTimeout(this.#timer);
    const [next, ...others] = topics;
    if (next === undefined || this.#connection.state !== "online") return;
    this.#timer = this.#clock.setTimeout(() => {
      this.load(next);
      this.#loadLater(this.#announced.has(next) ? [...others, next] : others);
    }, PAUSE);
  }

  /** @param {string} topic @returns {Room | null} */
  #roomOf(topic) {
    return this.#rooms.get(Number(topic.slice("room.".length)));
  }

  /** @param {string} topic */
  async load(topic) {
    try {
      const { users } = await this.#connection.request("presence.list", { topic });
      this.#presence.load(topic, users);
    } catch {
      // Nobody is shown until the next connection; messages do not depend on it.
    }
  }

  /**
   * Ask who the members of a room are: note who of them is online, beyond those that `presence.list` names, and when the
   * others were.
   * @param {number} room
   * @returns {Promise<{members: MemberSeen[], count: number} | null>}  Null when there is no answer: what the page knows stays.
   */
  async members(room) {
    try {
      const { members, count } = await this.#connection.request("room.members", { room });
      this.#presence.loadMembers(`room.${room}`, members);
      return { members, count };
    } catch {
      return null;
    }
  }
}
