// @ts-check
/** @import { Presence } from "djwsbridge/chat/state/presence.js" */
/** @import { RoomList } from "djwsbridge/chat/state/rooms.js" */
/** @import { Room } from "djwsbridge/chat/state/types.js" */
import { find, reconcile, setText, toneOf } from "djwsbridge/chat/elements/dom.js";
import { roomAddress } from "djwsbridge/chat/state/people.js";
import { initials } from "djwsbridge/chat/state/text.js";

/** The lists of rooms and direct messages; takes over what the server rendered. */
export class ChatRoomsElement extends HTMLElement {
  connectedCallback() {
    this.querySelector("[aria-current=page]")?.scrollIntoView({ block: "nearest" }); // a long list may begin elsewhere
  }

  /** @param {RoomList} rooms @param {Presence} presence @param {{openId: number | null}} options */
  render({ rooms }, presence, { openId }) {
    const groups = rooms.filter(({ kind }) => kind === "group");
    /** @param {HTMLElement} element @param {Room} room */
    const update = (element, room) => updateLink(element, room, { presence, isOpen: room.id === openId });
    this.#fill("joined", groups.filter(({ is_member }) => is_member), update);
    this.#fill("open", groups.filter(({ is_member }) => !is_member), update);
    this.#fill("direct", rooms.filter(({ kind }) => kind === "direct"), update);
  }

  /** @param {string} name @param {Room[]} rooms @param {(element: HTMLElement, room: Room) => void} update */
  #fill(name, rooms, update) {
    const list = find(this, `[data-list=${name}]`);
    reconcile(list, rooms, { key: ({ id }) => String(id), create: (room) => this.#create(room), update });
    find(this, `[data-list-section=${name}]`).toggleAttribute("hidden", name === "open" && rooms.length === 0);
    this.querySelector(`[data-list-empty=${name}]`)?.toggleAttribute("hidden", rooms.length > 0);
  }

  /** @param {Room} room @returns {HTMLElement} */
  #create(room) {
    const template = /** @type {HTMLTemplateElement} */ (find(this, `template[data-kind=${room.kind}]`));
    const element = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    find(element, "a").setAttribute("href", roomAddress(room, this.dataset));
    setText(find(element, ".nav-name"), room.title);
    if (room.kind !== "direct") return element;
    setText(find(element, ".avatar-letters"), initials(room.title));
    find(element, ".avatar").classList.add(toneOf(room.peer?.id ?? null));
    return element;
  }
}

/** @param {HTMLElement} element @param {Room} room @param {{presence: Presence, isOpen: boolean}} options */
function updateLink(element, room, { presence, isOpen }) {
  const link = find(element, "a");
  const badge = find(element, ".badge");
  if (isOpen) link.setAttribute("aria-current", "page");
  link.classList.toggle("has-unread", room.unread > 0);
  badge.hidden = room.unread === 0;
  setText(find(badge, ".badge-count"), room.unread > 99 ? "99+" : String(room.unread));
  if (room.peer) find(element, ".presence-dot").classList.toggle("is-online", presence.isOnline(room.peer.id));
}
