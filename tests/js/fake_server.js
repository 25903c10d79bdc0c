import { settle } from "./fake_clock.js";

const WELCOME = {
  connection_id: "c1",
  user: { id: 7, name: "alice" },
  heartbeat_ms: 25_000,
  topics: { "user.7": { recovered: false }, "room.42": { recovered: false } },
};

/** The server's end of one socket. */
class FakeSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  closedByClient = null;
  received = [];

  constructor(url, protocols, server) {
    Object.assign(this, { url, protocols, server });
    server.sockets.push(this);
    queueMicrotask(() => server.accepting && this.onopen?.({}));
  }

  send(text) {
    const frame = JSON.parse(text);
    this.received.push(frame);
    const answer = this.server.script[frame.cmd];
    if (!answer) return;
    const result = typeof answer === "function" ? answer(frame, this) : answer;
    if (result) queueMicrotask(() => this.deliver({ id: frame.id, ...result }));
  }

  close(code) {
    this.closedByClient ??= code;
  }

  deliver(frame) {
    this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }
}

/**
 * A scripted server: `script` maps a command to its answer `{ok}` or `{error}`, to a function that gives one,
 * or to null for silence.
 */
export class FakeServer {
  sockets = [];
  accepting = true;

  constructor(script = {}) {
    this.script = { connect: { ok: WELCOME }, heartbeat: { ok: {} }, ...script };
    const server = this;
    this.WebSocket = class extends FakeSocket {
      constructor(url, protocols) {
        super(url, protocols, server);
      }
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }

  /** The commands of one name that arrived, over all sockets. */
  received(cmd) {
    return this.sockets.flatMap((socket) => socket.received).filter((frame) => frame.cmd === cmd);
  }

  async push(type, { topic = "room.42", seq, data = {} } = {}) {
    this.socket.deliver({ push: type, topic, seq, data });
    await settle();
  }

  async reply(frame, result) {
    this.socket.deliver({ id: frame.id, ...result });
    await settle();
  }

  async close(code) {
    this.socket.onclose?.({ code });
    await settle();
  }
}

export { WELCOME };
