// @ts-check
/**
 * What one chat page knows and does, without the page: it joins the connection, the timeline of the open room, the
 * outbox, the room list and presence.
 *
 * Events: `room` (the open room or its members changed), `status` (detail: StateDetail), `readmark`.
 */
/** @import { Clock, Push, Session, StateDetail, User, UserId } from "djwsbridge/types.js" */
/** @import { Connection } from "djwsbridge/connection.js" */
/** @import { OutboxEntry } from "djwsbridge/outbox.js" */
/** @import { ChatApi } from "djwsbridge/chat/state/api.js" */
/** @import { Message, PageData, Room } from "djwsbridge/chat/state/types.js" */
import { Backoff } from "djwsbridge/backoff.js";
import { systemClock } from "djwsbridge/clock.js";
import { Outbox } from "djwsbridge/outbox.js";
import { BridgeError } from "djwsbridge/protocol.js";
import { Presence } from "djwsbridge/chat/state/presence.js";
import { RoomList } from "djwsbridge/chat/state/rooms.js";
import { Timeline } from "djwsbridge/chat/state/timeline.js";

const OLDER_PAGE = 50; // messages; about three screens
const REPAIR_PAGE = 500; // messages; the server's own bound. Who missed more starts over with the newest
const PRESENCE_TOPICS = 20; // the open room and the first of the others; a sixth of the frames allowed a minute
const READ_EVERY = 2000; // ms; a quarter of the frames allowed a minute, however busy the room

export class ChatSession extends EventTarget {
  /** Whether the newest messages are being fetched after a gap or a reconnect. */
  #repairing = false;
  /** Whether the rooms in the page may be out of date: true after the first connection. */
  #roomsStale = false;
  /** The pause after saying what was read; null when it may be said at once. @type {unknown} */
  #readPause = null;
  /** The read pointer that the server was told. */
  #readSaid;
  /** The direct room on its way; null when none is being opened. @type {Promise<Room> | null} */
  #opening = null;
  #repairBackoff;
  #api;
  #clock;
  #makeId;
  #nowIso;

  /**
   * @param {object} options
   * @param {PageData} options.data
   * @param {Connection} options.connection
   * @param {ChatApi} options.api
   * @param {() => string} options.makeId  Gives a UUID.
   * @param {() => string} [options.nowIso]
   * @param {Clock} [options.clock]
   * @param {() => number} [options.random]
   */
  constructor({ data, connection, api, makeId, nowIso = () => new Date().toISOString(), clock = systemClock, random = Math.random }) {
    super();
    this.user = data.user;
    /** The open room; null on the list of rooms and before the first private message. @type {Room | null} */
    this.room = data.room;
    /** With whom the page talks in private; null in a group. */
    this.peer = data.peer;
    this.#readSaid = data.room?.read_seq ?? 0;
    /** The members of the open room, by id. @type {Map<UserId, User>} */
    this.members = new Map([...data.members, ...(this.peer ? [this.user, this.peer] : [])].map((each) => [each.id, each]));
    this.rooms = new RoomList({ rooms: data.rooms, user: data.user });
    this.presence = new Presence();
    this.timeline = new Timeline({ messages: data.messages, lastSeq: data.last_seq });
    this.outbox = new Outbox({ send: (entry) => this.#deliver(entry), clock, random });
    this.connection = connection;
    this.#api = api;
    this.#clock = clock;
    this.#makeId = makeId;
    this.#nowIso = nowIso;
    this.#repairBackoff = new Backoff({ random });
    connection.addEventListener("state", (event) => this.#connectionChanged(/** @type {CustomEvent} */ (event).detail));
    connection.addEventListener("push", (event) => this.#pushed(/** @type {CustomEvent} */ (event).detail));
    this.outbox.addEventListener("sent", (event) => this.#received(/** @type {CustomEvent} */ (event).detail.result));
  }

  /**
   * The people of the open room, or of all of the person's rooms where none is open. Nobody is called offline before
   * the server has said who is online.
   * @returns {{online: User[], offline: User[], isAlone: boolean}}
   */
  get people() {
    const open = this.room?.is_member && !this.peer ? `room.${this.room.id}` : null;
    const others = this.presence.users(open).filter(({ id }) => id !== this.user.id && (!this.peer || this.members.has(id)));
    const isHere = this.connection.state === "online" || this.presence.isOnline(this.user.id);
    const online = isHere ? [this.user, ...others] : others;
    if (!this.presence.isKnown(open)) return { online, offline: [], isAlone: false };
    const present = new Set(online.map(({ id }) => id));
    const offline = [...this.members.values()].filter(({ id }) => !present.has(id)).sort((a, b) => a.name.localeCompare(b.name));
    return { online, offline, isAlone: isHere && others.length === 0 && this.peer?.id !== this.user.id };
  }

  /** Send a message; it shows at once and is confirmed later. @param {string} body @throws {OutboxFullError} */
  send(body) {
    this.outbox.add({ client_message_id: this.#makeId(), body, created: this.#nowIso() });
  }

  /** Load the messages before the first one shown. */
  async loadOlder() {
    if (!this.room || !this.timeline.hasOlder) return;
    const before = this.timeline.first;
    const { messages } = await this.#api.listMessages(this.room.id, before, OLDER_PAGE);
    if (this.timeline.first === before) this.timeline.prepend(messages); // else it started over meanwhile
  }

  /** Note that the person has seen everything that is shown. */
  markRead() {
    const seq = this.timeline.last;
    if (!this.room || seq <= this.room.read_seq) return;
    this.room = { ...this.room, read_seq: seq };
    this.rooms.read(this.room.id, seq);
    if (this.#readPause === null) this.sayRead();
  }

  /** Tell the server what was read, now: the page may be about to go. */
  sayRead() {
    this.#clock.clearTimeout(this.#readPause);
    this.#readPause = null;
    if (!this.room || this.room.read_seq <= this.#readSaid) return;
    const { id, read_seq: seq } = this.room;
    const before = this.#readSaid;
    this.#readSaid = seq;
    this.#readPause = this.#clock.setTimeout(() => this.sayRead(), READ_EVERY);
    // A pointer that did not arrive is said again with the next one, or with the next connection.
    this.connection.request("room.mark_read", { room: id, seq }).catch(() => (this.#readSaid = before));
  }

  /** @param {OutboxEntry} entry */
  async #deliver({ body, client_message_id }) {
    const room = this.room ?? (await this.#openDirect());
    return this.connection.request("message.send", { room: room.id, body, client_message_id });
  }

  /** Make the private room with the first message. @returns {Promise<Room>} */
  async #openDirect() {
    if (!this.peer) throw new BridgeError("not_found", "There is no room here.", { retryable: false });
    this.#opening ??= this.#api.openDirect(this.peer.id);
    try {
      const room = await this.#opening;
      this.#adopt(room);
      return room;
    } finally {
      this.#opening = null;
    }
  }

  /** @param {StateDetail} detail */
  #connectionChanged(detail) {
    this.dispatchEvent(new CustomEvent("status", { detail }));
    if (detail.state === "online") this.#online(/** @type {Session} */ (detail.session));
    else this.outbox.setOnline(false);
    if (detail.state === "stopped") {
      const message = detail.message ?? "The connection has ended.";
      this.outbox.failAll(new BridgeError(detail.reason ?? "stopped", message, { retryable: true }));
    }
  }

  /** Subscribed already: now read what was missed. @param {Session} session */
  #online(session) {
    this.#repair();
    this.sayRead();
    this.outbox.setOnline(true);
    this.#loadPresence(Object.keys(session.topics).filter((topic) => topic.startsWith("room.")));
    if (this.#roomsStale) this.#api.listRooms().then(({ rooms }) => this.rooms.replace(rooms), () => {});
    this.#roomsStale = true;
  }

  /** @param {string[]} topics */
  async #loadPresence(topics) {
    const open = this.room && `room.${this.room.id}`;
    const wanted = topics.sort((a, b) => Number(b === open) - Number(a === open)).slice(0, PRESENCE_TOPICS);
    this.presence.keep(wanted);
    await Promise.all(wanted.map((topic) => this.#loadTopic(topic)));
  }

  /** @param {string} topic */
  async #loadTopic(topic) {
    try {
      const { users } = await this.connection.request("presence.list", { topic });
      this.presence.load(topic, users);
    } catch {
      // Nobody is shown until the next connection; messages do not depend on it.
    }
  }

  /** Fetch what came after the last message shown, until nothing is missing. */
  async #repair() {
    if (this.#repairing || !this.room?.is_member) return;
    this.#repairing = true;
    try {
      while (await this.#repairOnce(this.room.id));
      this.#repairBackoff.reset();
    } catch (error) {
      const again = error instanceof BridgeError && error.retryable && this.connection.state === "online";
      if (again) this.#clock.setTimeout(() => this.#repair(), this.#repairBackoff.next());
    } finally {
      this.#repairing = false;
    }
  }

  /** @param {number} room @returns {Promise<boolean>} whether there is more. */
  async #repairOnce(room) {
    const after = this.timeline.last;
    const page = await this.connection.request("message.list", { room, after, limit: REPAIR_PAGE });
    if (page.last_seq - after > REPAIR_PAGE) {
      const newest = await this.connection.request("message.list", { room });
      this.timeline.reset(newest.messages, newest.last_seq);
      return this.timeline.last < newest.last_seq;
    }
    this.timeline.absorb(page.messages);
    return page.messages.length > 0 && (this.timeline.hasGap || this.timeline.last < page.last_seq);
  }

  /** @param {Push} push */
  #pushed({ type, topic, data }) {
    if (type === "message.sent") this.#received(data);
    else if (type === "presence.changed" && topic) this.presence.change(topic, data.user, data.state);
    else if (type === "room.joined") this.#joined(data.room);
    else if (type === "room.left") this.#left(data.room);
    else if (type === "member.joined" || type === "member.left") this.#memberChanged(type, data);
  }

  /** @param {Message} message */
  #received(message) {
    this.rooms.receive(message);
    if (message.sender.id === this.user.id) this.outbox.settle(message.client_message_id);
    if (message.room !== this.room?.id) return;
    this.timeline.receive(message);
    if (this.timeline.hasGap) this.#repair();
  }

  /** @param {Room} room */
  #joined(room) {
    this.rooms.put(room);
    const isOpen = room.id === this.room?.id || (!this.room && room.peer !== null && room.peer.id === this.peer?.id);
    if (isOpen) this.#adopt(room);
    else this.#loadTopic(`room.${room.id}`);
  }

  /** @param {number} id */
  #left(id) {
    this.rooms.leave(id);
    if (this.room?.id !== id) return;
    this.room = { ...this.room, is_member: false };
    this.#roomChanged();
  }

  /** Take a room as the open one. @param {Room} room */
  #adopt(room) {
    this.room = { ...room, read_seq: Math.max(room.read_seq, this.room?.read_seq ?? 0) };
    this.rooms.put(this.room);
    this.#roomChanged();
    this.#repair();
    this.#loadTopic(`room.${room.id}`);
  }

  /** @param {string} type @param {{room: number, user: User}} data */
  #memberChanged(type, { room, user }) {
    const topic = `room.${room}`;
    if (type === "member.left") this.presence.change(topic, user, "offline");
    else this.#loadTopic(topic);
    if (room !== this.room?.id) return;
    if (type === "member.left") this.members.delete(user.id);
    else this.members.set(user.id, user);
    this.#roomChanged();
  }

  #roomChanged() {
    this.dispatchEvent(new CustomEvent("room"));
  }
}
