/** As much of a browser, and of the server's page, as the whole chat page needs to run. */
import { webcrypto } from "node:crypto";

/** An element that holds what is asked for, and takes whatever is done to it. */
class FakeElement extends EventTarget {
  dataset = {};
  classList = { toggle() {} };
  textContent = "";
  value = "";
  hidden = false;
  attributes = new Map();
  #children = new Map();

  setAttribute(name, value) {
    this.attributes.set(name, value);
  }

  removeAttribute(name) {
    this.attributes.delete(name);
  }

  toggleAttribute(name, isOn) {
    if (isOn) this.attributes.set(name, "");
    else this.attributes.delete(name);
  }

  querySelector(selector) {
    if (!this.#children.has(selector)) this.#children.set(selector, new FakeElement());
    return this.#children.get(selector);
  }

  querySelectorAll() {
    return [];
  }

  focus() {}

  /** Be what the template does not have, or has in another way. */
  put(selector, child) {
    this.#children.set(selector, child);
  }
}

/** A child element of the page, which notes what it is given to show. */
class FakeView extends FakeElement {
  renders = [];
  atBottom = true;
  scrolls = 0;

  render(...shown) {
    this.renders.push(shown);
  }

  scrollToEnd() {
    this.scrolls += 1;
  }
}

/** A browser whose frames come when told. One at a time: it takes the place of the globals. */
export class FakePage {
  reloads = 0;
  document = new FakeElement();
  #window = new EventTarget();
  #frames = new Map();
  #count = 0;

  constructor({ data, server }) {
    this.document.title = "Room 42";
    this.document.visibilityState = "visible";
    this.document.querySelector("#chat-data").textContent = JSON.stringify(data);
    setGlobals({
      document: this.document,
      location: { protocol: "https:", host: "example.test", origin: "https://example.test", reload: () => (this.reloads += 1) },
      navigator: { onLine: true },
      crypto: webcrypto,
      WebSocket: server.WebSocket,
      BroadcastChannel: undefined,
      CSS: { supports: () => true },
      HTMLElement: FakeElement,
      matchMedia: () => new EventTarget(),
      addEventListener: (...listener) => this.#window.addEventListener(...listener),
      requestAnimationFrame: (run) => (this.#frames.set((this.#count += 1), run), this.#count),
      cancelAnimationFrame: (frame) => this.#frames.delete(frame),
    });
  }

  /** Put the page's own element into the document. */
  async open() {
    const { ChatAppElement } = await import("djwsbridge/chat/elements/chat_app.js"); // they need the globals
    const { ChatComposerElement } = await import("djwsbridge/chat/elements/chat_composer.js");
    this.app = new ChatAppElement();
    for (const missing of [".logout", ".peer-state"]) this.app.put(missing, null);
    for (const tag of ["chat-timeline", "chat-rooms", "chat-online", "chat-lobby"]) this.app.put(tag, new FakeView());
    this.app.put("chat-composer", new ChatComposerElement());
    this.child("chat-composer").connectedCallback();
    this.app.connectedCallback();
  }

  close() {
    this.app.disconnectedCallback();
  }

  child(selector) {
    return this.app.querySelector(selector);
  }

  /** Have the browser tell something, such as that the network is back. */
  tell(type) {
    this.#window.dispatchEvent(new Event(type));
  }

  frame() {
    const runs = [...this.#frames.values()];
    this.#frames.clear();
    for (const run of runs) run(0);
  }
}

/** Node has some of them already, and lets nobody assign to them. */
function setGlobals(values) {
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(globalThis, name, { configurable: true, writable: true, value });
  }
}
