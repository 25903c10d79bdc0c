// @ts-check
/** @import { User } from "djwsbridge/types.js" */
/** @import { Message, Room } from "djwsbridge/chat/state/types.js" */

/**
 * The rooms that the person sees in the lists, with what is unread.
 *
 * Events: `change`.
 */
export class RoomList extends EventTarget {
  /** By id, in the order of the server; new ones come first. @type {Map<number, Room>} */
  #rooms = new Map();
  /** The unread count of each room as the server gave it, and the seqs of others' messages since. @type {Map<number, {room: Room, since: number[]}>} */
  #counts = new Map();
  #user;

  /** @param {{rooms: Room[], user: User}} options */
  constructor({ rooms, user }) {
    super();
    this.#user = user;
    this.#fill(rooms);
  }

  /** @returns {Room[]} */
  get rooms() {
    return [...this.#rooms.values()];
  }

  /** The person's own groups, the one spoken in last first. @returns {Room[]} */
  get recent() {
    const groups = this.rooms.filter(({ kind, is_member }) => kind === "group" && is_member);
    return groups.sort((a, b) => lastActivity(b) - lastActivity(a));
  }

  /** Messages that wait to be read, over all rooms. */
  get unread() {
    return this.rooms.reduce((sum, room) => sum + (room.is_member ? room.unread : 0), 0);
  }

  /** @param {number} id */
  get(id) {
    return this.#rooms.get(id) ?? null;
  }

  /** Take the whole list of the server anew. @param {Room[]} rooms */
  replace(rooms) {
    this.#fill(rooms);
    this.#changed();
  }

  /** Take some rooms of the server anew. @param {Room[]} rooms */
  update(rooms) {
    for (const room of rooms) {
      const known = this.#rooms.get(room.id);
      this.#rooms.set(room.id, room);
      this.#counts.set(room.id, { room, since: [] });
      if (known && known.read_seq > room.read_seq) this.#read(room, known.read_seq); // read since the server was asked
    }
    this.#changed();
  }

  /** Add a room, or take its new state. @param {Room} room */
  put(room) {
    const known = this.#rooms.has(room.id);
    this.#rooms = new Map(known ? [...this.#rooms] : [[room.id, room], ...this.#rooms]);
    this.#rooms.set(room.id, room);
    this.#counts.set(room.id, { room, since: [] });
    this.#changed();
  }

  /** The person has left: a group stays in sight, so that they can join again. @param {number} id */
  leave(id) {
    const room = this.#rooms.get(id);
    if (!room) return;
    if (room.kind === "direct") this.#rooms.delete(id);
    else this.#rooms.set(id, { ...room, is_member: false, unread: 0, last_message: null });
    this.#changed();
  }

  /** Count a message that arrived. @param {Message} message */
  receive(message) {
    const room = this.#rooms.get(message.room);
    if (!room || message.seq <= room.last_seq) return;
    const isOwn = message.sender.id === this.#user.id; // whoever writes has read
    if (!isOwn) this.#counts.get(room.id)?.since.push(message.seq);
    this.#read({ ...room, last_seq: message.seq, last_message: message }, isOwn ? message.seq : room.read_seq);
    this.#changed();
  }

  /** Note how far the person has read. @param {number} id @param {number} seq */
  read(id, seq) {
    const room = this.#rooms.get(id);
    if (!room || seq <= room.read_seq) return;
    this.#read(room, seq);
    this.#changed();
  }

  /** @param {Room} room @param {number} readSeq */
  #read(room, readSeq) {
    this.#rooms.set(room.id, { ...room, read_seq: readSeq, unread: this.#countUnread(room.id, readSeq) });
  }

  /** Count messages, not seqs: other events of a room have seqs too. @param {number} id @param {number} readSeq */
  #countUnread(id, readSeq) {
    const count = this.#counts.get(id);
    if (!count) return 0;
    count.since = count.since.filter((seq) => seq > readSeq);
    return Math.min(count.room.unread, Math.max(0, count.room.last_seq - readSeq)) + count.since.length;
  }

  /** @param {Room[]} rooms */
  #fill(rooms) {
    this.#rooms = new Map(rooms.map((room) => [room.id, room]));
    this.#counts = new Map(rooms.map((room) => [room.id, { room, since: [] }]));
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}

/** @param {Room} room */
function lastActivity({ last_message: last }) {
  return last ? Date.parse(last.created) : 0;
}
