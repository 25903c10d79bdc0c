// @ts-check
/** @import { User } from "djwsbridge/types.js" */
import { find, make, reconcile, setText, toneOf } from "djwsbridge/chat/elements/dom.js";
import { initials } from "djwsbridge/chat/state/text.js";

/** The people: who is online, and which members are not. */
export class ChatOnlineElement extends HTMLElement {
  /** @param {{online: User[], offline: User[], isAlone: boolean}} people @param {User} user */
  render({ online, offline, isAlone }, user) {
    this.#fill("online", online, user);
    this.#fill("away", offline, user);
    find(this, ".people-alone").hidden = !isAlone;
  }

  /** @param {string} name @param {User[]} people @param {User} user */
  #fill(name, people, user) {
    const section = find(this, `[data-people=${name}]`);
    reconcile(find(section, "ul"), people, {
      key: ({ id }) => String(id),
      create: (person) => this.#create(person, { isSelf: person.id === user.id }),
    });
    setText(find(section, ".count"), people.length ? String(people.length) : "");
    if (name === "away") section.hidden = people.length === 0;
  }

  /** @param {User} person @param {{isSelf: boolean}} options */
  #create(person, { isSelf }) {
    const link = make(
      "a", { class: "person", href: `${this.dataset.directUrl}${encodeURIComponent(person.name)}/` },
      make(
        "span", { class: `avatar small ${toneOf(person.id)}`, "aria-hidden": "true" },
        make("span", {}, initials(person.name)), make("span", { class: "presence-dot" }),
      ),
      make("span", { class: "person-name", dir: "auto" }, person.name),
    );
    link.title = isSelf ? "Notes to yourself" : `Write to ${person.name}`;
    if (isSelf) link.append(make("span", { class: "person-note" }, "you"));
    return make("li", {}, link);
  }
}
