// @ts-check
/** @import { Refusal, StateDetail, UserId } from "djwsbridge/types.js" */
/** @import { ChatComposerElement } from "djwsbridge/chat/elements/chat_composer.js" */
/** @import { ChatLobbyElement } from "djwsbridge/chat/elements/chat_lobby.js" */
/** @import { ChatOnlineElement } from "djwsbridge/chat/elements/chat_online.js" */
/** @import { ChatRoomsElement } from "djwsbridge/chat/elements/chat_rooms.js" */
/** @import { ChatStatusElement } from "djwsbridge/chat/elements/chat_status.js" */
/** @import { ChatTimelineElement } from "djwsbridge/chat/elements/chat_timeline.js" */
/** @import { ChatTypingElement } from "djwsbridge/chat/elements/chat_typing.js" */
/** @import { Presence } from "djwsbridge/chat/state/presence.js" */
/** @import { PageData } from "djwsbridge/chat/state/types.js" */
import { Connection } from "djwsbridge/connection.js";
import { LastingStore } from "djwsbridge/outbox_store.js";
import { BridgeError, uuid4 } from "djwsbridge/protocol.js";
import { watchRefusals } from "djwsbridge/refusals.js";
import { Tabs } from "djwsbridge/tabs.js";
import { Banner } from "djwsbridge/chat/elements/banner.js";
import { Drawers } from "djwsbridge/chat/elements/drawers.js";
import { find, perFrame, setText } from "djwsbridge/chat/elements/dom.js";
import { clearOnLogout } from "djwsbridge/chat/elements/logout.js";
import { formatAgo } from "djwsbridge/chat/elements/time.js";
import { ChatApi } from "djwsbridge/chat/state/api.js";
import { layoutTimeline } from "djwsbridge/chat/state/layout.js";
import { ChatPage } from "djwsbridge/chat/state/page.js";
import { describeStatus } from "djwsbridge/chat/state/status.js";

const MINUTE = 60_000; // ms; what the page says of time is as exact

/** The whole page: makes the state from the server's data, hands state down to the elements, and hears them. */
export class ChatAppElement extends HTMLElement {
  /** @type {AbortController | null} */
  #listening = null;
  /** @type {ChatPage | null} */
  #page = null;
  /** What was read when the page opened: where the mark of new messages stands; null for none. @type {number | null} */
  #readSeq = null;
  /** Whether the page has been online once. */
  #wasOnline = false;
  /** The last state of the connection. @type {StateDetail} */
  #connectionState = { state: "connecting" };
  /** Whether the browser says that the network is gone, and the server has not answered since. */
  #inDoubt = false;
  /** Why the site opens no socket; empty when it does, or does not say. */
  #refusal = "";
  /** @type {Banner | null} */
  #banner = null;
  /** The title without the unread count. */
  #title = "";
  /** What follows the state, once per frame: a recovery changes it hundreds of times in one task. */
  #rendering = {
    timeline: perFrame(() => this.#renderTimeline()),
    typing: perFrame(() => this.#renderTyping()),
    rooms: perFrame(() => this.#renderRooms()),
    people: perFrame(() => this.#renderPeople()),
  };

  connectedCallback() {
    const data = /** @type {PageData} */ (JSON.parse(find(document, "#chat-data").textContent ?? ""));
    this.#listening = new AbortController();
    this.#title = document.title;
    this.#readSeq = data.room && data.room.unread > 0 ? data.room.read_seq : null;
    this.#page = this.#makePage(data);
    new Drawers(this, this.#listening.signal);
    clearOnLogout(this.querySelector(".logout"), this.#page.outbox, this.#listening.signal);
    this.#listenToState(this.#page, data, this.#listening.signal);
    this.#listenToElements(this.#page, this.#listening.signal);
    this.#listenToBrowser(this.#page, this.#listening.signal);
    this.#renderAll();
    this.#page.connection.start();
  }

  disconnectedCallback() {
    this.#listening?.abort();
    this.#page?.connection.stop();
    for (const each of Object.values(this.#rendering)) each.drop();
  }

  /** @param {PageData} data */
  #makePage(data) {
    const outboxName = `djwsbridge outbox ${data.socket_path} ${data.user.id}`; // nobody else's texts are ever sent
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    return new ChatPage({
      data,
      connection: new Connection({ url: `${scheme}//${location.host}${data.socket_path}` }),
      api: new ChatApi({ base: data.api, csrfToken: this.dataset.csrfToken ?? "" }),
      store: new LastingStore({ name: outboxName }),
      tabs: new Tabs({ name: outboxName }),
      makeId: () => uuid4(crypto.getRandomValues(new Uint8Array(16))),
    });
  }

  /** @param {ChatPage} page @param {PageData} data @param {AbortSignal} signal */
  #listenToState(page, data, signal) {
    const { timeline, typing, rooms, people } = this.#rendering;
    for (const each of [page.timeline, page.outbox, page.receipts]) each.addEventListener("change", timeline.ask, { signal });
    page.typing.addEventListener("change", typing.ask, { signal });
    page.rooms.addEventListener("change", rooms.ask, { signal });
    page.presence.addEventListener("change", people.ask, { signal });
    page.addEventListener("replaced", () => location.reload(), { signal });
    page.addEventListener("room", () => this.#roomChanged(), { signal });
    page.connection.addEventListener("refused", (event) => {
      this.#refusal = /** @type {CustomEvent<Refusal>} */ (event).detail.message;
      this.#renderStatus();
    }, { signal });
    watchRefusals(page.connection, { url: `${data.api}socket/`, origin: location.origin });
    page.addEventListener("status", (event) => {
      this.#connectionState = /** @type {CustomEvent} */ (event).detail;
      this.#inDoubt = false;
      this.#wasOnline ||= this.#connectionState.state === "online";
      if (this.#connectionState.state === "online") this.#refusal = "";
      this.#renderStatus();
      people.ask();
    }, { signal });
  }

  /** @param {ChatPage} page @param {AbortSignal} signal */
  #listenToElements(page, signal) {
    /** @param {string} type @param {(event: CustomEvent) => void} run */
    const hear = (type, run) => this.addEventListener(type, (event) => run(/** @type {CustomEvent} */ (event)), { signal });
    hear("chat-send", (event) => this.#send(event));
    hear("chat-retry", ({ detail }) => page.outbox.retry(detail));
    hear("chat-discard", ({ detail }) => page.outbox.discard(detail));
    hear("chat-older", () => page.loadOlder().catch(() => this.#timeline?.failOlder()));
    hear("chat-seen", () => this.#seen());
    hear("chat-write", () => page.touchTyping());
    hear("chat-setting", ({ detail: { name, value, save } }) => name === "read_receipts" && save(page.setReadReceipts(value)));
  }

  /** @param {ChatPage} page @param {AbortSignal} signal */
  #listenToBrowser(page, signal) {
    const { connection, outbox } = page;
    for (const type of ["online", "pageshow"]) addEventListener(type, () => connection.wake(), { signal });
    addEventListener("offline", () => this.#doubt(connection), { signal });
    for (const type of ["online", "offline"]) addEventListener(type, () => this.#renderStatus(), { signal });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState !== "visible") {
        page.sayRead();
        return;
      }
      connection.wake();
      this.#returned();
    }, { signal });
    addEventListener("beforeunload", (event) => !outbox.isSafe && event.preventDefault(), { signal });
    const tick = setInterval(() => this.#renderPeople(), MINUTE);
    signal.addEventListener("abort", () => clearInterval(tick));
  }

  /** The browser says that the network is gone: ask the server, for the browser is not always right. @param {Connection} connection */
  async #doubt(connection) {
    this.#inDoubt = connection.state === "online";
    connection.probe(); // gives the connection up when no answer comes
    await connection.request("heartbeat").then(() => (this.#inDoubt = false), () => {});
    this.#renderStatus();
  }

  /** @param {CustomEvent<string>} event */
  #send(event) {
    const problem = this.#trySend(event.detail);
    if (problem && this.#composer) this.#composer.problem = problem;
    if (problem) event.preventDefault();
    else this.#showOwn();
  }

  /** @param {string} text @returns {string} why it cannot be sent; empty when it is on its way. */
  #trySend(text) {
    if (this.#connectionState.state === "stopped") return "Not connected. Your text stays here.";
    try {
      this.#page?.send(text);
    } catch (error) {
      if (!(error instanceof BridgeError)) throw error;
      return `${error.message} Wait until the connection is back.`;
    }
    return "";
  }

  /** What one sends oneself is always in sight, and whoever writes has read. */
  #showOwn() {
    this.#readSeq = null;
    this.#rendering.timeline.now();
    this.#timeline?.scrollToEnd();
  }

  /** The person looks at the page again: mark where they had stopped reading. */
  #returned() {
    const room = this.#page?.room;
    if (room && room.unread > 0) this.#readSeq = room.read_seq;
    this.#rendering.timeline.now();
    this.#seen();
  }

  #seen() {
    if (document.visibilityState === "visible" && this.#timeline?.atBottom) this.#page?.markRead();
  }

  #renderAll() {
    this.#renderTimeline();
    this.#renderRooms();
    this.#renderPeople();
    this.#renderStatus();
  }

  #renderTimeline() {
    const page = this.#page;
    if (!page || !this.#timeline) return;
    const { timeline, entries, user, receipts, topic, readers, members } = page;
    if (this.#timeline.atBottom) timeline.trim();
    const items = layoutTimeline({
      messages: timeline.messages, echoes: timeline.echoes, entries, user, readSeq: this.#readSeq,
      isOnline: this.#connectionState.state === "online", progressOf: (seq) => receipts.progressOf(topic, seq, readers, members.unlisted),
    });
    this.#timeline.render(items, { hasOlder: timeline.hasOlder });
  }

  #renderTyping() {
    const line = /** @type {ChatTypingElement | null} */ (this.querySelector("chat-typing"));
    if (line && this.#page) line.users = this.#page.typing.users;
  }

  #renderRooms() {
    if (!this.#page) return;
    const { rooms, presence, room } = this.#page;
    /** @type {ChatRoomsElement} */ (find(this, "chat-rooms")).render(rooms, presence, { openId: room?.id ?? null });
    /** @type {ChatLobbyElement | null} */ (this.querySelector("chat-lobby"))?.render(rooms);
    this.#renderUnread(rooms.unread - (room?.is_member ? rooms.get(room.id)?.unread ?? 0 : 0));
    document.title = rooms.unread ? `(${rooms.unread}) ${this.#title}` : this.#title;
  }

  /** Where the lists are out of sight, say on their button that something waits in another room. @param {number} count */
  #renderUnread(count) {
    const button = find(this, ".sidebar-button");
    find(button, ".unread-dot").hidden = count === 0;
    button.setAttribute("aria-label", `Rooms and direct messages${count ? `, ${count} unread` : ""}`);
  }

  #renderPeople() {
    if (!this.#page) return;
    const { people, user, presence, peer } = this.#page;
    /** @type {ChatOnlineElement} */ (find(this, "chat-online")).render(people, user, presence);
    const line = this.querySelector(".peer-state");
    if (line && peer) setText(line, this.#describePeer(peer.id, presence));
    this.#rendering.rooms.now();
  }

  /** @param {UserId} id @param {Presence} presence */
  #describePeer(id, presence) {
    if (this.#connectionState.state !== "online") return "Direct message"; // nobody knows
    if (presence.isOnline(id)) return "Online";
    const lastSeen = presence.lastSeen(id);
    return lastSeen ? `Last seen ${formatAgo(lastSeen)}` : "Offline";
  }

  #renderStatus() {
    const status = describeStatus(this.#connectionState, {
      wasOnline: this.#wasOnline, networkDown: !navigator.onLine, inDoubt: this.#inDoubt, refusal: this.#refusal,
    });
    /** @type {ChatStatusElement} */ (find(this, "chat-status")).status = status;
    this.dataset.connection = status.tone;
    const notice = find(this, ".notice");
    const stopped = status.tone === "stopped";
    notice.hidden = !stopped;
    setText(find(notice, ".notice-text"), stopped ? status.help : "");
    setText(find(notice, "a"), status.action);
    this.#banner ??= new Banner(find(this, ".banner"));
    this.#banner.say(stopped ? "" : status.help);
  }

  /** The open room came to be, or the person joined or left it, perhaps in another tab. */
  #roomChanged() {
    const room = this.#page?.room;
    const composer = this.#composer;
    if (room?.is_member && !composer) location.reload();
    if (room && composer && composer.writable !== room.is_member) {
      this.querySelector(".leave")?.toggleAttribute("hidden", !room.is_member);
      composer.writable = room.is_member;
      if (!room.is_member) composer.note = "You have left this room. Choose another one, or open it again to join.";
    }
    this.#rendering.people.ask();
    this.#rendering.timeline.ask();
  }

  /** @returns {ChatComposerElement | null} */
  get #composer() {
    return this.querySelector("chat-composer");
  }

  /** @returns {ChatTimelineElement | null} */
  get #timeline() {
    return this.querySelector("chat-timeline");
  }
}
