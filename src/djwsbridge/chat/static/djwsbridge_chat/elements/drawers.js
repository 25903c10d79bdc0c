// @ts-check
import { find, isInputMethodKey } from "djwsbridge/chat/elements/dom.js";

/** The columns that become drawers where the page is narrow: one at a time, over the rest, closed by a button, Escape or a click beside them. */
export class Drawers {
  /** The page's root. @type {HTMLElement} */
  #root;
  /** The button that opened the drawer, which gets the focus back; null while all are closed. @type {HTMLElement | null} */
  #opener = null;

  /** @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(root, signal) {
    this.#root = root;
    for (const button of this.#buttons) button.addEventListener("click", () => this.#toggle(button), { signal });
    for (const each of root.querySelectorAll(".scrim, .drawer-close")) each.addEventListener("click", () => this.close(), { signal });
    document.addEventListener("keydown", (event) => this.#keyPressed(event), { signal });
    matchMedia("(min-width: 1060px)").addEventListener("change", () => this.close(), { signal });
  }

  close() {
    if (!this.#opener) return;
    const opener = this.#opener;
    this.#opener = null;
    this.#show("");
    opener.focus();
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (event.key === "Escape" && !isInputMethodKey(event)) this.close();
  }

  /** @param {HTMLElement} button */
  #toggle(button) {
    if (this.#opener === button) {
      this.close();
      return;
    }
    const name = button.getAttribute("aria-controls") ?? "";
    this.#opener = button;
    this.#show(name);
    const target = this.#root.querySelector(`#${name} a[aria-current], #${name} a, #${name} button`);
    if (target instanceof HTMLElement) target.focus();
  }

  /** @param {string} name */
  #show(name) {
    this.#root.dataset.drawer = name;
    find(this.#root, "main").inert = name !== "";
    for (const button of this.#buttons) {
      button.setAttribute("aria-expanded", String(button.getAttribute("aria-controls") === name));
    }
  }

  /** @returns {HTMLElement[]} */
  get #buttons() {
    return [...this.#root.querySelectorAll("[data-drawer-button]")].map((each) => /** @type {HTMLElement} */ (each));
  }
}
