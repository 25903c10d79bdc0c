// @ts-check
/** @import { User } from "djwsbridge/types.js" */
/** @import { Presence } from "djwsbridge/chat/state/presence.js" */
import { find, make, reconcile, setText, toneOf } from "djwsbridge/chat/elements/dom.js";
import { formatAgo } from "djwsbridge/chat/elements/time.js";
import { listPeople, personAddress } from "djwsbridge/chat/state/people.js";
import { initials } from "djwsbridge/chat/state/text.js";

/** The people: who is online, and which members are not and when they were. */
export class ChatOnlineElement extends HTMLElement {
  /** @param {ReturnType<typeof listPeople>} people @param {User} user @param {Presence} presence */
  render({ online, offline, unlisted, isAlone }, user, presence) {
    this.#fill("online", online, (person) => (person.id === user.id ? "you" : ""));
    this.#fill("away", offline, ({ id }) => {
      const lastSeen = presence.lastSeen(id);
      return lastSeen ? `Last seen ${formatAgo(lastSeen)}` : "";
    });
    find(this, ".people-alone").hidden = !isAlone;
    find(this, ".people-unlisted").hidden = unlisted === 0;
    setText(find(this, ".people-unlisted"), `and ${unlisted} more members`);
  }

  /** @param {string} name @param {User[]} people @param {(person: User) => string} note */
  #fill(name, people, note) {
    const section = find(this, `[data-people=${name}]`);
    reconcile(find(section, "ul"), people, {
      key: ({ id }) => String(id),
      create: (person) => this.#create(person),
      update: (element, person) => setText(find(element, ".person-note"), note(person)),
    });
    setText(find(section, ".count"), people.length ? String(people.length) : "");
    if (name === "away") section.hidden = people.length === 0;
  }

  /** @param {User} person */
  #create(person) {
    const href = personAddress(person, this.dataset);
    return make("li", {}, make(
      href ? "a" : "span", { class: "person", ...(href && { href }) },
      make(
        "span", { class: `avatar small ${toneOf(person.id)}`, "aria-hidden": "true" },
        make("span", {}, initials(person.name)), make("span", { class: "presence-dot" }),
      ),
      make("span", { class: "person-name", dir: "auto" }, person.name), " ",
      make("span", { class: "person-note" }),
    ));
  }
}
