// @ts-check
/**
 * What one chat page knows and does, without the page: it joins the connection, the timeline of the open room, the
 * outbox, the room list, presence, typing and receipts.
 *
 * Events: `room` (the open room or its members changed), `status` (detail: StateDetail), `replaced` (the page must begin
 * anew: the server has another history of the open room, or takes the browser for another person).
 */
/** @import { Beginning, Clock, Push, Receipt, StateDetail, User, UserId, Welcome } from "djwsbridge/types.js" */
/** @import { Connection } from "djwsbridge/connection.js" */
/** @import { OutboxEntry } from "djwsbridge/outbox.js" */
/** @import { OutboxStore } from "djwsbridge/outbox_store.js" */
/** @import { Tabs } from "djwsbridge/tabs.js" */
/** @import { ChatApi } from "djwsbridge/chat/state/api.js" */
/** @import { Message, PageData, Room } from "djwsbridge/chat/state/types.js" */
import { systemClock } from "djwsbridge/clock.js";
import { Outbox } from "djwsbridge/outbox.js";
import { Announcements } from "djwsbridge/chat/state/announcements.js";
import { DirectRooms } from "djwsbridge/chat/state/direct_rooms.js";
import { listPeople } from "djwsbridge/chat/state/people.js";
import { Members } from "djwsbridge/chat/state/members.js";
import { Presence } from "djwsbridge/chat/state/presence.js";
import { PresenceLoader } from "djwsbridge/chat/state/presence_loader.js";
import { ReadPointer } from "djwsbridge/chat/state/read_pointer.js";
import { Receipts } from "djwsbridge/chat/state/receipts.js";
import { RoomListLoader } from "djwsbridge/chat/state/room_list_loader.js";
import { RoomList } from "djwsbridge/chat/state/rooms.js";
import { Snapshot } from "djwsbridge/chat/state/snapshot.js";
import { Timeline } from "djwsbridge/chat/state/timeline.js";
import { TypingNotice, TypingPeople } from "djwsbridge/chat/state/typing.js";

const OLDER_PAGE = 50; // messages; about three screens

export class ChatPage extends EventTarget {
  /** How often the page has been online. */
  #connections = 0;
  #api;
  #makeId;
  #nowIso;
  #readPointer;
  #notice;
  #snapshot;
  #presenceLoader;
  #roomListLoader;
  #announcements;
  #directRooms;

  /**
   * @param {object} options
   * @param {PageData} options.data
   * @param {Connection} options.connection
   * @param {ChatApi} options.api
   * @param {() => string} options.makeId  Gives a UUID.
   * @param {OutboxStore} [options.store]  Where unsent messages lie.
   * @param {Tabs} [options.tabs]
   * @param {() => string} [options.nowIso]
   * @param {Clock} [options.clock]
   * @param {() => number} [options.random]
   */
  constructor({
    data, connection, api, makeId, store, tabs, nowIso = () => new Date().toISOString(), clock = systemClock, random = Math.random,
  }) {
    super();
    this.user = data.user;
    /** The open room; null on the list of rooms and before the first private message. @type {Room | null} */
    this.room = data.room;
    /** With whom the page talks in private; null in a group. */
    this.peer = data.peer;
    this.members = new Members();
    this.members.take([...data.members, ...(this.peer ? [this.user, this.peer] : [])], data.member_count);
    this.rooms = new RoomList({ rooms: data.rooms, user: data.user });
    this.presence = new Presence({ nowIso });
    this.receipts = new Receipts();
    this.typing = new TypingPeople({ clock });
    this.timeline = new Timeline({ messages: data.messages, lastSeq: data.last_seq });
    this.outbox = new Outbox({ send: (entry) => this.#sendEntry(entry), store, tabs, clock, random });
    this.connection = connection;
    this.#api = api;
    this.#makeId = makeId;
    this.#nowIso = nowIso;
    this.#snapshot = new Snapshot({ connection, timeline: this.timeline, clock, random });
    this.#presenceLoader = new PresenceLoader({ connection, presence: this.presence, rooms: this.rooms, clock });
    this.#directRooms = new DirectRooms({ api });
    this.#roomListLoader = new RoomListLoader({ connection, api, rooms: this.rooms, clock });
    this.#announcements = new Announcements({ connection, rooms: this.rooms, loader: this.#roomListLoader, snapshot: this.#snapshot });
    this.#readPointer = new ReadPointer({ connection, said: data.room?.read_seq ?? 0, clock });
    this.#notice = new TypingNotice({ connection, clock });
    this.#listen();
    this.outbox.open();
  }

  get topic() { return this.room && `room.${this.room.id}`; }

  /** The people besides oneself whose receipts tell how far a message has come. */
  get readers() { return [...this.members.keys()].filter((id) => id !== this.user.id); }

  /** What was written here and is not confirmed. */
  get entries() { return this.outbox.entries.filter(({ lane }) => lane === this.#lane); }

  /** Who is online, and who of the members is not. */
  get people() {
    const { user, peer, members, presence, connection } = this;
    const topic = this.room?.is_member && !peer ? this.topic : null;
    return listPeople({ user, peer, topic, members, presence, isConnected: connection.state === "online" });
  }

  /** Send a message; it shows at once and is confirmed later. @param {string} body @throws {OutboxFullError} */
  send(body) {
    const target = { room: this.room?.id, peer: this.peer?.id };
    this.outbox.add({ client_message_id: this.#makeId(), lane: this.#lane, target, body, created: this.#nowIso() });
  }

  /** Note that the person is typing. */
  touchTyping() {
    if (this.room?.is_member && this.readers.length > 0) this.#notice.touch(this.room.id);
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
    this.#readPointer.move(this.room.id, seq);
  }

  /** Tell the server what was read, now: the page may be about to go. */
  sayRead() { this.#readPointer.say(); }

  /** Choose whether others see what this person has read. @param {boolean} isOn */
  async setReadReceipts(isOn) { await this.#api.updateMe({ read_receipts: isOn }); }

  /** Messages of a private conversation keep one lane, whether its room exists by now or not. */
  get #lane() {
    return this.peer ? `direct ${this.peer.id}` : `room ${this.room?.id}`;
  }

  #listen() {
    const { connection, outbox } = this;
    /** @param {EventTarget} target @param {string} type @param {(detail: any) => void} run */
    const hear = (target, type, run) => target.addEventListener(type, (event) => run(/** @type {CustomEvent} */ (event).detail));
    hear(connection, "state", (detail) => this.#connectionChanged(detail));
    hear(connection, "push", (push) => this.#pushed(push));
    hear(connection, "begin", (beginning) => this.#began(beginning));
    hear(connection, "reset", (beginning) => this.#lost(beginning));
    hear(connection, "receipts", ({ topic, receipts }) => this.#receipts(topic, receipts));
    hear(outbox, "sent", ({ result }) => result.room === this.room?.id && this.timeline.echo(result));
  }

  /** @param {OutboxEntry} entry */
  async #sendEntry({ target, body, client_message_id }) {
    const open = target.peer === this.peer?.id ? this.room?.id : undefined; // made since by an earlier message
    const room = target.room ?? open ?? (await this.#openDirect(target.peer)).id;
    return this.connection.request("message.send", { room, body, client_message_id });
  }

  /** Make the private room with the first message. @param {UserId} peerId @returns {Promise<Room>} */
  async #openDirect(peerId) {
    const room = await this.#directRooms.open(peerId);
    if (peerId === this.peer?.id && !this.room) this.#adopt(room);
    return room;
  }

  /** @param {StateDetail} detail */
  #connectionChanged(detail) {
    const { welcome, closeCode } = detail;
    if (welcome && String(welcome.user?.id) !== String(this.user.id)) {
      this.connection.stop(); // somebody else has logged in meanwhile: what is here would go out under their name
      this.dispatchEvent(new CustomEvent("replaced"));
      return;
    }
    this.dispatchEvent(new CustomEvent("status", { detail }));
    this.outbox.setOnline(welcome !== undefined, { closeCode });
    if (welcome) this.#resume(welcome);
    else this.typing.clear();
  }

  /** Say and ask what waited for a connection. @param {Welcome} welcome */
  #resume({ topics, announced = {} }) {
    this.#connections += 1;
    this.sayRead();
    this.#snapshot.resume();
    this.#roomListLoader.resume();
    this.#announcements.hear(announced, this.room);
    if (this.topic && topics[this.topic]?.omitted) this.connection.refresh(this.topic);
    this.#presenceLoader.loadAll(Object.keys(topics), Object.keys(announced), this.topic);
    this.#loadMembers();
  }

  /** Take the members anew, and when they were last here: who is not online pushes nothing. */
  async #loadMembers() {
    if (!this.room?.is_member) return;
    const found = await this.#presenceLoader.members(this.room.id);
    if (found) this.members.take(found.members, found.count);
    this.#roomChanged();
  }

  /** Pushes of a topic go on from here; what the page has of it may be older. @param {Beginning} beginning */
  #began({ topic, seq }) {
    const id = Number(topic.replace(/^room\./, ""));
    if (topic === this.topic) this.#snapshot.load(id, seq ?? 0);
    else if (seq === null || Number.isNaN(id)) this.#connections > 1 && this.#roomListLoader.expire();
    else if (seq > (this.rooms.get(id)?.last_seq ?? 0)) this.#roomListLoader.expire();
    else this.connection.acknowledge(topic, seq);
  }

  /** What was missed of a topic cannot be said. @param {Beginning} beginning */
  #lost(beginning) {
    if (beginning.topic !== this.topic) this.#roomListLoader.expire();
    else if (beginning.reason === "epoch_changed") this.dispatchEvent(new CustomEvent("replaced"));
    else this.#began(beginning);
    this.#loadMembers();
  }

  /** @param {Push} push */
  #pushed({ type, topic, seq, data }) {
    if (data.scrubbed && topic !== null && seq !== null) this.#lost({ topic, epoch: null, seq, reason: null }); // it was erased
    else if (type === "message.sent") this.#received(data);
    else if (type === "typing") this.#heardTyping(data);
    else if (type === "receipt") this.#receipts(`room.${data.room}`, [data]); // of one's own devices on another topic
    else if (type === "presence.changed" && topic) this.presence.change(topic, data);
    else if (type === "topics.moved") this.#announcements.hear(data.topics, this.room);
    else if (type === "room.joined") this.#joined(data.room);
    else if (type === "room.left") this.#left(data.room);
    else if (type === "member.joined" || type === "member.left") this.#memberChanged(type, data);
  }

  /** @param {Message} message */
  #received(message) {
    this.rooms.receive(message);
    if (message.room === this.room?.id) {
      this.typing.forget(message.sender.id);
      this.timeline.receive(message);
    }
    if (message.sender.id === this.user.id) this.outbox.settle(message.client_message_id, message);
  }

  /** @param {{room: number, user: User}} data */
  #heardTyping({ room, user }) {
    if (room === this.room?.id && user.id !== this.user.id) this.typing.hear(user);
  }

  /** @param {string} topic @param {Receipt[]} receipts */
  #receipts(topic, receipts) {
    this.receipts.take(topic, receipts);
    const own = receipts.find(({ user }) => user === this.user.id);
    if (own?.read_seq === undefined) return;
    this.rooms.read(Number(topic.slice("room.".length)), own.read_seq); // perhaps on another device
    if (topic === this.topic && this.room) this.room = { ...this.room, read_seq: Math.max(this.room.read_seq, own.read_seq) };
  }

  /** @param {Room} room */
  #joined(room) {
    this.rooms.put(room);
    const isOpen = room.id === this.room?.id || (!this.room && room.peer !== null && room.peer.id === this.peer?.id);
    if (isOpen) this.#adopt(room);
    else this.#presenceLoader.load(`room.${room.id}`);
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
    this.#snapshot.load(room.id, 0);
    this.#presenceLoader.load(`room.${room.id}`);
  }

  /** @param {string} type @param {{room: number, user: User}} data */
  #memberChanged(type, { room, user }) {
    const topic = `room.${room}`;
    if (type === "member.left") this.presence.change(topic, { user, state: "offline" });
    else this.#presenceLoader.load(topic);
    if (room !== this.room?.id) return;
    this.typing.forget(user.id);
    if (type === "member.left") this.members.delete(user.id);
    else this.members.set(user.id, user);
    this.#roomChanged();
  }

  #roomChanged() { this.dispatchEvent(new CustomEvent("room")); }
}
