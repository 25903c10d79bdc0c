// @ts-check
/** @import { User } from "djwsbridge/types.js" */
/** @import { Members } from "djwsbridge/chat/state/members.js" */
/** @import { Presence } from "djwsbridge/chat/state/presence.js" */

/**
 * List the people of the open room, or of all of the person's rooms where none is open. Nobody is called offline before
 * the server has said who is online.
 * @param {object} options
 * @param {User} options.user
 * @param {User | null} options.peer  The other one of a private conversation.
 * @param {string | null} options.topic  Of the open group; null where none is open.
 * @param {Members} options.members
 * @param {Presence} options.presence
 * @param {boolean} options.isConnected
 * @returns {{online: User[], offline: User[], unlisted: number, isAlone: boolean}}  `unlisted` is how many are in neither list.
 */
export function listPeople({ user, peer, topic, members, presence, isConnected }) {
  const others = presence.users(topic).filter(({ id }) => id !== user.id && (!peer || members.has(id)));
  const isHere = isConnected || presence.isOnline(user.id);
  const online = isHere ? [user, ...others] : others;
  const { unlisted } = members;
  if (!presence.isKnown(topic)) return { online, offline: [], unlisted, isAlone: false };
  const present = new Set(online.map(({ id }) => id));
  const offline = [...members.values()].filter(({ id }) => !present.has(id)).sort((a, b) => a.name.localeCompare(b.name));
  return { online, offline, unlisted, isAlone: isHere && others.length === 0 && peer?.id !== user.id };
}

/**
 * Write a person's name as one segment of an address, as the server does (chat/addresses.py, with the reasons): a slash
 * and a step up would be another address, quoted or not.
 * @param {string} name
 */
export function nameInAddress(name) {
  const escaped = name.replace(/[~/\\]|^\.\.?$/gu, (found) => [...found].map((one) => `~${one.charCodeAt(0).toString(16)}`).join(""));
  return encodeURI(escaped || "~").replace(/[?#]/gu, encodeURIComponent);
}

/**
 * Write the address of the private conversation with a person; null for one who has been deleted or has no name, by which
 * the server would find them.
 * @param {User} person
 * @param {{directUrl?: string}} bases  Of private conversations.
 */
export function personAddress({ id, name }, { directUrl }) {
  return id !== null && name ? `${directUrl}${nameInAddress(name)}/` : null;
}

/**
 * Write the address of a room's page, beside the page that is open: on the same site, under its prefix, in its language.
 * The `url` of a room is made for all readers and knows the settings alone.
 * @param {{slug: string, peer: User | null}} room
 * @param {{roomsUrl?: string, directUrl?: string}} bases  Of the list of rooms, and of private conversations.
 */
export function roomAddress({ slug, peer }, { roomsUrl, directUrl }) {
  return (peer && personAddress(peer, { directUrl })) ?? `${roomsUrl}${nameInAddress(slug)}/`;
}
