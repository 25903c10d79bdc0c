// @ts-check
/** @import { User, UserId } from "djwsbridge/types.js" */

/**
 * @typedef {object} Author  Who wrote a message; the id is null when the account was deleted.
 * @property {UserId | null} id
 * @property {string} name
 */

/**
 * @typedef {object} Message
 * @property {number} room
 * @property {number} seq
 * @property {Author} sender
 * @property {string} body  Empty when it was erased.
 * @property {string} created  ISO, UTC.
 * @property {string} client_message_id
 */

/**
 * @typedef {object} Room
 * @property {number} id
 * @property {string} slug
 * @property {string} title
 * @property {"group" | "direct"} kind
 * @property {string} url
 * @property {boolean} is_member
 * @property {number} last_seq
 * @property {number} read_seq
 * @property {number} unread
 * @property {User | null} peer  The other one of a direct room.
 * @property {Message | null} last_message
 */

/**
 * @typedef {User & {read_receipts?: boolean}} Me  `read_receipts`: whether others see what this person has read.
 */

/**
 * @typedef {object} PageData  What the server writes into the page.
 * @property {string} socket_path
 * @property {string} api
 * @property {Me} user
 * @property {Room | null} room
 * @property {Room[]} rooms
 * @property {User | null} peer  The other one of a private conversation, whether its room exists or not.
 * @property {Message[]} messages
 * @property {number} last_seq
 * @property {User[]} members  The first thousand.
 * @property {number} [member_count]  How many there are.
 */

/** @typedef {{id: UserId, name: string, online: boolean, last_seen: string | null}} MemberSeen */
/** @typedef {{messages: Message[], last_seq: number, more: boolean}} MessagePage  `more`: whether there are further ones. */

export {};
