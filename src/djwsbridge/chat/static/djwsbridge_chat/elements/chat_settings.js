// @ts-check
import { find, setText } from "djwsbridge/chat/elements/dom.js";

/**
 * The person's own settings, in a popover.
 *
 * Events: `chat-setting` (detail: {name, value, save}; a listener answers with a promise by calling `save`).
 */
export class ChatSettingsElement extends HTMLElement {
  /** @type {AbortController | null} */
  #listening = null;

  connectedCallback() {
    this.#listening = new AbortController();
    this.addEventListener("change", (event) => this.#changed(event), { signal: this.#listening.signal });
  }

  disconnectedCallback() {
    this.#listening?.abort();
  }

  /** @param {Event} event */
  #changed(event) {
    const box = event.target;
    if (!(box instanceof HTMLInputElement)) return;
    /** @param {Promise<void>} saving */
    const save = (saving) => this.#saving(box, saving);
    this.dispatchEvent(new CustomEvent("chat-setting", { bubbles: true, detail: { name: box.name, value: box.checked, save } }));
  }

  /** Wait until it is stored; take it back when it is not. @param {HTMLInputElement} box @param {Promise<void>} saving */
  async #saving(box, saving) {
    const note = find(this, ".settings-note");
    box.disabled = true;
    setText(note, "");
    try {
      await saving;
      setText(note, "Saved.");
    } catch {
      box.checked = !box.checked;
      setText(note, "This could not be saved. Try again.");
    } finally {
      box.disabled = false;
      box.focus();
    }
  }
}
