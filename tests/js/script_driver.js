/** Plays the language-neutral scripts of tests/wire with a whole client; their form is in tests/wire/README.md. */
import { Connection } from "djwsbridge/connection.js";
import { Outbox } from "djwsbridge/outbox.js";
import { BridgeError } from "djwsbridge/protocol.js";
import { FakeClock } from "./fake_clock.js";

const ALICE = { id: 7, name: "alice" };
const welcome = (topics) => ({ connection_id: "c1", user: ALICE, heartbeat_ms: 25_000, topics });

export class ScriptDriver {
  #seen = {};
  #unanswered = [];
  #socket = null;
  #fresh = false;
  #clock = new FakeClock();
  #ignore;
  #renewable;

  constructor({ random = 0.5, cursors, renewable = true, ignore = [] } = {}) {
    this.#ignore = ignore;
    this.#renewable = renewable;
    const timing = { clock: this.#clock, random: () => random };
    this.connection = new Connection({
      url: "wss://example.test/", WebSocket: this.#socketClass(), cursors, isRenewable: renewable, ...timing,
      credential: ({ fresh }) => this.#giveCredential(fresh),
    });
    this.outbox = new Outbox({ send: (entry) => this.#send(entry), ...timing });
    this.#listen();
  }

  async goOnline(topics = {}) {
    await this.give({ do: "start" });
    await this.give({ socket: "open" });
    await this.give({ reply: "connect", topics });
    return this;
  }

  /** Give the client one thing; return everything that it does about it. */
  async give(step) {
    this.#seen = {};
    if (step.do) this.#do(step);
    else if (step.at !== undefined) await this.#clock.advance(step.at - this.#clock.now());
    else if (step.socket === "open") this.#socket.onopen();
    else if (step.socket) this.#close(step.code ?? null);
    else if (step.reply) this.#reply(step);
    else this.#socket.onmessage({ data: step.frame ?? JSON.stringify(step.push) });
    await this.#clock.advance(0);
    return this.#seen;
  }

  #do({ do: what, topic, room, body, client_message_id }) {
    if (what === "send") {
      this.outbox.add({ client_message_id, body, lane: `room ${room}`, target: { room }, created: "2026-01-02T03:04:05Z" });
    } else if (what === "subscribe") this.connection.subscribe(topic).catch(() => {}); // its answer is the server's word
    else this.connection[what]();
  }

  #reply({ reply, ok, error, topics, message }) {
    const fits = (each) => each.cmd === reply && (!message || each.client_message_id === message.client_message_id);
    const command = this.#unanswered.find(fits);
    this.#unanswered = this.#unanswered.filter((each) => each !== command);
    const stored = message && { sender: ALICE, created: "2026-01-02T03:04:05Z", ...message };
    const answer = error ? { error } : { ok: ok ?? stored ?? welcome(topics) };
    this.#socket.onmessage({ data: JSON.stringify({ id: command.id, ...answer }) });
  }

  #close(code) {
    const { onclose } = this.#socket;
    this.#socket.isGone = true;
    this.#unanswered = [];
    onclose({ code: code ?? 1006 });
  }

  #send({ target, body, client_message_id }) {
    return this.connection.request("message.send", { ...target, body, client_message_id });
  }

  #listen() {
    this.connection.addEventListener("state", ({ detail: { delayMs, closeCode, ...rest } }) => {
      this.#note("states", { ...rest, delay_ms: delayMs, close_code: closeCode });
      this.outbox.setOnline(rest.state === "online", { closeCode });
    });
    this.connection.addEventListener("push", ({ detail: { type, topic, seq, data } }) => {
      const isOwn = type === "message.sent" && data.sender?.id === ALICE.id;
      if (isOwn) this.outbox.settle(data.client_message_id, data);
      this.#note("pushes", { push: type, topic, seq, data });
    });
    this.connection.addEventListener("reset", ({ detail }) => this.#note("resets", detail));
    this.outbox.addEventListener("sent", ({ detail: { entry, result } }) =>
      this.#note("sent", { client_message_id: entry.client_message_id, seq: result.seq }));
    this.outbox.addEventListener("failed", ({ detail: { entry } }) =>
      this.#note("failed", { client_message_id: entry.client_message_id, code: entry.error.code }));
  }

  #giveCredential(fresh) {
    if (fresh && !this.#renewable) throw new BridgeError("auth_required", "Log in.", { retryable: false });
    this.#fresh = fresh;
    return {};
  }

  #socketClass() {
    const driver = this;
    return class {
      constructor() {
        driver.#socket = this;
        driver.#note("sockets", driver.#fresh ? "open fresh" : "open");
      }

      send(text) {
        driver.#sent(JSON.parse(text));
      }

      close() {
        if (!this.isGone) driver.#note("sockets", "close");
      }
    };
  }

  #sent(command) {
    if (this.#ignore.includes(command.cmd)) {
      queueMicrotask(() => this.#socket.onmessage?.({ data: JSON.stringify({ id: command.id, ok: {} }) }));
      return;
    }
    this.#unanswered.push(command);
    this.#note("commands", command);
  }

  #note(key, value) {
    (this.#seen[key] ??= []).push(value);
  }
}

