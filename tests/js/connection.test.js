import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { CLOSE_CODES } from "djwsbridge/codes.js";
import { Connection } from "djwsbridge/connection.js";
import { BridgeError } from "djwsbridge/protocol.js";
import { FakeClock, settle } from "./fake_clock.js";
import { FakeServer, WELCOME } from "./fake_server.js";

let clock;
let server;
let states;
let connection;

function connect(options = {}) {
  connection = new Connection({
    url: "wss://example.test/ws/bridge/", WebSocket: server.WebSocket, clock, random: () => 0.5, ...options,
  });
  connection.addEventListener("state", ({ detail }) => states.push(detail));
  connection.start();
  return settle();
}

const last = () => states.at(-1);
const outcome = (promise) => promise.then((ok) => ({ ok }), (error) => ({ error }));

beforeEach(() => {
  clock = new FakeClock();
  server = new FakeServer();
  states = [];
});

test("it connects, greets with credential and cursors, and is online when `connect` is answered", async () => {
  await connect({ credential: () => ({ ticket: "t1" }), cursors: { "room.42": ["e", 7] } });
  assert.deepEqual(server.socket.protocols, ["djwsbridge.v1"]);
  assert.equal(server.socket.url, "wss://example.test/ws/bridge/");
  assert.deepEqual(server.socket.received, [{ id: 1, cmd: "connect", ticket: "t1", cursors: { "room.42": ["e", 7] } }]);
  assert.deepEqual(states, [{ state: "connecting" }, { state: "online", welcome: WELCOME }]);
});

test("a command resolves with the reply's ok, or rejects with its error", async () => {
  server.script["message.send"] = ({ body }) =>
    body ? { ok: { seq: 8 } } : { error: { code: "empty_body", message: "Write something.", retryable: false } };
  await connect();
  assert.deepEqual(await connection.request("message.send", { body: "hi" }), { seq: 8 });
  const { error } = await outcome(connection.request("message.send", { body: "" }));
  assert.deepEqual([error.code, error.message, error.retryable], ["empty_body", "Write something.", false]);
});

test("command ids are unique and replies may come in any order", async () => {
  server.script.echo = null;
  await connect();
  const answers = ["a", "b"].map((text) => connection.request("echo", { text }));
  const [first, second] = server.received("echo");
  assert.notEqual(first.id, second.id);
  await server.reply(second, { ok: { text: "b" } });
  await server.reply(first, { ok: { text: "a" } });
  assert.deepEqual(await Promise.all(answers), [{ text: "a" }, { text: "b" }]);
});

test("a command without an answer times out after ten seconds; its late reply is ignored", async () => {
  server.script["message.list"] = null;
  await connect();
  const asked = outcome(connection.request("message.list", {}));
  await clock.advance(10_000);
  assert.equal((await asked).error.code, "timeout");
  await server.reply(server.received("message.list")[0], { ok: {} });
  assert.equal(connection.state, "online");
});

test("while not online a command is refused at once", async () => {
  server.accepting = false;
  await connect();
  const { error } = await outcome(connection.request("message.list"));
  assert.deepEqual([error.code, error.retryable], ["connection_lost", true]);
});

test("the commands that wait for an answer are bounded", async () => {
  server.script.slow = null;
  await connect();
  const all = Array.from({ length: 101 }, () => outcome(connection.request("slow")));
  assert.equal((await all[100]).error.code, "busy");
  connection.stop();
  assert.equal((await all[0]).error.code, "connection_lost");
});

test("pushes arrive as events; an unreadable frame is reported and does no harm", async () => {
  await connect();
  const seen = [];
  connection.addEventListener("push", ({ detail }) => seen.push(detail.type));
  connection.addEventListener("badframe", ({ detail }) => seen.push(detail.code));
  await server.push("message.sent", { seq: 1 });
  server.socket.deliver("{");
  server.socket.deliver({ id: null, error: { code: "bad_json", message: "", retryable: false } });
  await server.push("signal");
  assert.deepEqual(seen, ["message.sent", "bad_frame", "signal"]);
});

test("a handshake or a `connect` that is not answered is given up after fifteen seconds", async () => {
  server.accepting = false;
  await connect();
  await clock.advance(15_000);
  assert.equal(last().state, "waiting");
  assert.equal(server.socket.closedByClient, 1000);
  server.accepting = true;
  server.script.connect = null;
  await clock.advance(250);
  assert.equal(last().state, "connecting");
  await clock.advance(15_000);
  assert.equal(last().state, "waiting");
});

test("a heartbeat goes out one period after the last reply, jittered", async () => {
  server.script.echo = { ok: {} };
  await connect();
  await clock.advance(24_000);
  await connection.request("echo");
  await clock.advance(24_000);
  assert.equal(server.received("heartbeat").length, 0);
  await clock.advance(1000);
  assert.equal(server.received("heartbeat").length, 1);
  await clock.advance(25_000);
  assert.equal(server.received("heartbeat").length, 2);
});

test("the heartbeat's period spreads by a fifth to both sides", async () => {
  for (const [random, period] of [[0, 20_000], [1, 30_000]]) {
    clock = new FakeClock();
    server = new FakeServer();
    await connect({ random: () => random });
    await clock.advance(period - 1);
    assert.equal(server.received("heartbeat").length, 0);
    await clock.advance(1);
    assert.equal(server.received("heartbeat").length, 1);
  }
});

test("a heartbeat without an answer means half-open: drop the socket and come back", async () => {
  server.script.heartbeat = null;
  await connect();
  const [socket] = server.sockets;
  await clock.advance(25_000 + 10_000);
  assert.deepEqual([last().state, last().reason], ["waiting", "heartbeat_lost"]);
  assert.equal(socket.closedByClient, 1000);
  server.script.heartbeat = { ok: {} };
  await clock.advance(1000);
  assert.equal(last().state, "online");
  assert.equal(server.sockets.length, 2);
});

test("pushes do not stand in for the answer: a server that hears nothing is left", async () => {
  server.script.heartbeat = null;
  await connect();
  await clock.advance(25_000);
  await server.push("signal");
  await clock.advance(10_000);
  assert.equal(last().state, "waiting");
});

test("after a lost connection the commands under way fail as unknown, and the client returns", async () => {
  server.script["message.send"] = null;
  await connect();
  const asked = outcome(connection.request("message.send"));
  await server.close(1006);
  assert.deepEqual([(await asked).error.code, (await asked).error.closeCode], ["connection_lost", 1006]);
  assert.deepEqual([last().state, last().delayMs], ["waiting", 250]);
  await clock.advance(250);
  assert.equal(last().state, "online");
});

test("the back-off grows while `connect` fails, and starts over only after ten stable seconds", async () => {
  await connect();
  const lose = async () => {
    await server.close(1006);
    const { delayMs } = last();
    await clock.advance(delayMs);
    return delayMs;
  };
  assert.deepEqual([await lose(), await lose(), await lose()], [250, 500, 1000]);
  await clock.advance(9_999);
  assert.equal(await lose(), 2000);
  await clock.advance(10_000);
  assert.equal(await lose(), 250);
});

for (const [text, row] of Object.entries(CLOSE_CODES)) {
  const code = Number(text);
  test(`close code ${code} ${row.name}: ${row.reaction}`, async () => {
    await connect();
    await server.close(code);
    assert.deepEqual([last().closeCode, last().reason], [code, row.name]);
    if (row.reaction !== "stop") {
      assert.equal(last().state, "waiting");
      assert.equal(last().delayMs, 250 + (row.minDelayMs ?? 0));
      await clock.advance(last().delayMs);
      assert.equal(last().state, "online");
    } else {
      assert.deepEqual([last().state, last().advice], ["stopped", row.advice]);
      await clock.advance(3_600_000);
      assert.equal(server.sockets.length, 1);
    }
  });
}

test("an error push before the close gives the sentence and the least delay", async () => {
  await connect();
  await server.push("error", { topic: null, data: { code: "busy", message: "Come back later.", retry_after_ms: 7000 } });
  await server.close(1013);
  assert.deepEqual([last().message, last().delayMs], ["Come back later.", 7250]);
  await clock.advance(3000);
  connection.wake();
  assert.equal(last().state, "waiting", "wake does not shorten what the server asked for");
  await clock.advance(4000);
  connection.wake();
  assert.equal(last().state, "connecting");
});

test("1000 after the error `too_large` is taken as 1009", async () => {
  server.script["message.send"] = null;
  await connect();
  const asked = outcome(connection.request("message.send"));
  await server.push("error", { topic: null, data: { code: "too_large", message: "Too large." } });
  await server.close(1000);
  assert.equal((await asked).error.closeCode, 1009);
  assert.deepEqual([last().state, last().reason], ["waiting", "too_big"]);
});

test("4401 asks for a new credential once, then stops", async () => {
  const asked = [];
  await connect({ credential: ({ fresh }) => (asked.push(fresh), { ticket: `t${asked.length}` }) });
  await server.close(4401);
  await clock.advance(last().delayMs);
  assert.equal(last().state, "online");
  server.script.connect = { error: { code: "token_invalid", message: "Log in.", retryable: false } };
  await server.close(4401);
  await clock.advance(last().delayMs);
  await server.close(4401);
  assert.deepEqual(asked, [false, true, true]);
  assert.deepEqual([last().state, last().advice, last().message], ["stopped", "login", "Log in."]);
});

test("without a credential function the next handshake is the new credential", async () => {
  await connect();
  await server.close(4401);
  await clock.advance(last().delayMs);
  await server.close(4410);
  assert.equal(last().state, "stopped");
});

test("4411 brings a fresh credential with the next attempt", async () => {
  const asked = [];
  await connect({ credential: ({ fresh }) => (asked.push(fresh), {}) });
  await server.close(4411);
  await clock.advance(last().delayMs);
  assert.deepEqual(asked, [false, true]);
  assert.equal(last().state, "online");
});

test("a credential that cannot be had now is asked for again; one that is refused stops the client", async () => {
  let error = new Error("network");
  await connect({ credential: () => Promise.reject(error) });
  assert.equal(last().state, "waiting");
  error = new BridgeError("auth_required", "Log in.", { retryable: false });
  await clock.advance(last().delayMs);
  assert.deepEqual([last().state, last().advice], ["stopped", "login"]);
});

test("auth.expiring renews the token in-band", async () => {
  server.script["auth.refresh"] = { ok: { expires_at: "2026-01-01T00:00:00Z" } };
  await connect({ credential: ({ fresh }) => ({ token: fresh ? "new" : "old" }) });
  await server.push("auth.expiring", { topic: null, data: { expires_in_ms: 60_000 } });
  assert.equal(server.received("auth.refresh")[0].token, "new");
});

test("a callback that gives the token that is about to end is asked less and less often", async () => {
  server.script["auth.refresh"] = { ok: { expires_at: "2026-01-01T00:00:00Z" } };
  const asked = [];
  let token = "cached";
  await connect({ credential: ({ fresh }) => { asked.push([clock.now(), fresh]); return { token }; } });
  for (let second = 0; second < 60; second += 1) {
    await server.push("auth.expiring", { topic: null, data: { expires_in_ms: 60_000 } });
    await clock.advance(1000);
  }
  assert.deepEqual(asked.map(([at]) => at - asked[0][0]), [0, 0, 5_000, 15_000, 35_000]);
  assert.equal(server.received("auth.refresh").length, 0);
  token = "new";
  await clock.advance(15_000);
  assert.deepEqual(server.received("auth.refresh").map((frame) => frame.token), ["new"]);
  await clock.advance(3_600_000);
  assert.equal(server.received("auth.refresh").length, 1);
});

test("what the callback throws reaches the application and the console", async (t) => {
  const printed = t.mock.method(console, "error", () => {});
  const error = new TypeError("no token in the store");
  const told = [];
  const credential = () => { throw error; };
  connection = new Connection({ url: "wss://example.test/ws/bridge/", WebSocket: server.WebSocket, clock, random: () => 0.5, credential });
  connection.addEventListener("state", ({ detail }) => states.push(detail));
  connection.addEventListener("credentialerror", ({ detail }) => told.push(detail));
  connection.start();
  await settle();
  assert.deepEqual(told, [error]);
  assert.deepEqual([last().state, last().reason, last().message], ["waiting", "not_opened", "TypeError: no token in the store"]);
  assert.ok(printed.mock.calls[0].arguments.includes(error));
});

test("what the callback throws when the token ends is told, and it is asked again", async (t) => {
  const printed = t.mock.method(console, "error", () => {});
  server.script["auth.refresh"] = { ok: {} };
  const answers = [{ token: "old" }, new Error("offline"), { token: "new" }];
  const told = [];
  await connect({ credential: () => { const next = answers.shift(); if (next instanceof Error) throw next; return next; } });
  connection.addEventListener("credentialerror", ({ detail }) => told.push(detail.message));
  await server.push("auth.expiring", { topic: null, data: { expires_in_ms: 60_000 } });
  assert.deepEqual([told, printed.mock.callCount()], [["offline"], 1]);
  await clock.advance(5_000);
  assert.equal(server.received("auth.refresh")[0].token, "new");
});

test("a lost connection asks for no token any more", async () => {
  let asked = 0;
  server.script["auth.refresh"] = { ok: {} };
  await connect({ credential: ({ fresh }) => { asked += fresh ? 1 : 0; return { token: "cached" }; } });
  await server.push("auth.expiring", { topic: null, data: { expires_in_ms: 60_000 } });
  assert.equal(asked, 1);
  connection.stop();
  await clock.advance(600_000);
  assert.equal(asked, 1);
});

test("a `reconnect` push moves after its delay and stays online until then", async () => {
  await connect();
  await server.push("reconnect", { topic: null, data: { after_ms: 3000 } });
  await clock.advance(2999);
  assert.equal(connection.state, "online");
  await clock.advance(1);
  assert.deepEqual(states.slice(-3).map(({ state, reason, delayMs }) => [state, reason, delayMs]), [
    ["waiting", "restart", 0], ["connecting", undefined, undefined], ["online", undefined, undefined],
  ]);
});

test("what the connection itself acts on is no push for the application", async () => {
  await connect();
  const seen = [];
  connection.addEventListener("push", ({ detail }) => seen.push(detail.type));
  await server.push("reconnect", { topic: null, data: { after_ms: 60_000 } });
  await server.push("error", { topic: null, data: { code: "busy", message: "" } });
  assert.deepEqual(seen, []);
});

test("on a topic, events of the same names are the application's own", async () => {
  await connect({ credential: () => ({ token: "t" }) });
  const seen = [];
  connection.addEventListener("push", ({ detail: { type, topic } }) => seen.push([type, topic]));
  const names = ["error", "reconnect", "auth.expiring", "tips"];
  for (const name of names) await server.push(name, { data: { code: "busy", message: "No.", after_ms: 0 } });
  await clock.advance(1);
  assert.deepEqual(seen, names.map((name) => [name, "room.42"]));
  assert.equal(connection.state, "online", "it has not moved to another node");
  assert.deepEqual(server.received("auth.refresh"), []);
  await server.close(1006);
  assert.deepEqual([last().message, last().delayMs], [undefined, 250]);
});

test("a topic that the application subscribed to is subscribed again on the next connection, and recovered", async () => {
  const report = { epoch: "e", seq: 4, recovered: false };
  server.script.subscribe = { ok: report };
  server.script["topic.recover"] = { ok: { epoch: "e", seq: 5, recovered: true, events: [{ push: "price", topic: "shop.1", seq: 5, data: {} }] } };
  await connect();
  const seen = [];
  for (const type of ["begin", "push"]) connection.addEventListener(type, ({ detail: { topic, seq } }) => seen.push([type, topic, seq]));
  await connection.subscribe("shop.1");
  assert.deepEqual(seen, [["begin", "shop.1", 4]]);
  server.script.subscribe = { ok: {} };
  await server.close(1006);
  await clock.advance(250);
  assert.equal(server.received("subscribe").length, 2);
  assert.deepEqual(server.received("topic.recover").map(({ epoch, seq }) => [epoch, seq]), [["e", 4]]);
  assert.deepEqual(seen.at(-1), ["push", "shop.1", 5]);
  assert.deepEqual(connection.cursors["shop.1"], ["e", 5]);
  server.script.unsubscribe = { ok: {} };
  await connection.unsubscribe("shop.1");
  await server.close(1006);
  await clock.advance(1000);
  assert.equal(server.received("subscribe").length, 2);
});

test("a client that is far behind takes each page once, while live events come", async () => {
  const page = 800;
  let tip = 40_000;
  const event = (seq) => ({ push: "a", topic: "room.42", seq, data: {} });
  const report = (after) => {
    const seqs = Array.from({ length: Math.min(page, tip - after) }, (_, index) => after + 1 + index);
    return { epoch: "e", seq: tip, recovered: true, events: seqs.map(event), more: tip - after > page };
  };
  server.script.connect = { ok: { ...WELCOME, topics: { "room.42": report(0) } } };
  server.script["topic.recover"] = ({ seq }, socket) => {
    for (let count = 0; count < 20; count += 1) socket.deliver(event(++tip));
    return { ok: report(seq) };
  };
  const seen = [];
  await connect({ cursors: { "room.42": ["e", 0] } });
  connection.addEventListener("push", ({ detail: { seq } }) => seen.push(seq));
  await clock.advance(1000);
  assert.deepEqual(seen, Array.from({ length: tip - page }, (_, index) => index + page + 1));
  const asked = server.received("topic.recover").map(({ seq }) => seq);
  assert.ok(asked.every((seq, index) => index === 0 || seq > asked[index - 1]), "it never begins anew");
  assert.ok(asked.length <= tip / page + 1);
});

for (const code of ["db_unavailable", "busy", "rate_limited"]) {
  test(`a topic whose subscription is refused with ${code} after a reconnect is asked for again`, async () => {
    server.script.subscribe = { ok: { epoch: "e", seq: 4, recovered: false } };
    await connect();
    await connection.subscribe("order.1");
    await connection.subscribe("order.2");
    server.script.subscribe = { error: { code, message: "Later.", retryable: true, retry_after_ms: 1000 } };
    server.script["topic.recover"] = ({ topic }) => ({ ok: { epoch: "e", seq: 5, recovered: true, events: [{ push: "price", topic, seq: 5, data: {} }] } });
    const pushed = [];
    connection.addEventListener("push", ({ detail: { topic, seq } }) => pushed.push([topic, seq]));
    await server.close(1006);
    await clock.advance(250);
    const asked = () => server.sockets[1].received.filter(({ cmd }) => cmd !== "connect").map(({ cmd, topic }) => `${cmd} ${topic}`);
    assert.deepEqual(asked(), ["subscribe order.1"], "one question at a time: the server counts them");
    await clock.advance(1249);
    assert.equal(asked().length, 1, "not before the server wants it, and with a back-off");
    server.script.subscribe = { ok: {} };
    await clock.advance(1);
    assert.deepEqual(asked().filter((each) => each.startsWith("subscribe")).sort(), ["subscribe order.1", "subscribe order.1", "subscribe order.2"]);
    assert.deepEqual(pushed.sort(), [["order.1", 5], ["order.2", 5]], "what was missed meanwhile");
  });
}

test("a topic that is subscribed to no more is not asked for again, nor one that is closed to this person", async () => {
  server.script.subscribe = { ok: {} };
  server.script.unsubscribe = { ok: {} };
  await connect();
  for (const topic of ["order.1", "order.2", "order.3"]) await connection.subscribe(topic);
  await server.close(1006);
  server.script.subscribe = ({ topic }) => ({ error: topic === "order.2" ? { code: "not_found", message: "" } : { code: "busy", message: "" } });
  await clock.advance(250);
  await connection.unsubscribe("order.1");
  await clock.advance(600_000);
  const asked = (number) => server.received("subscribe").filter(({ topic }) => topic === `order.${number}`).length;
  assert.deepEqual([asked(1), asked(2)], [2, 2], "once by the application, once after the reconnect");
  assert.ok(asked(3) > 3);
  server.script.subscribe = null;
  await server.close(1006);
  await clock.advance(60_000);
  assert.deepEqual([asked(1), asked(2)], [2, 2]);
});

test("who stops when it hears of a topic is asked for nothing", async () => {
  server.script.subscribe = { ok: {} };
  await connect();
  await connection.subscribe("order.1");
  await server.close(1006);
  server.script.connect = { ok: { ...WELCOME, topics: { "user.7": { recovered: false } } } };
  connection.addEventListener("begin", () => connection.stop());
  await clock.advance(250);
  assert.equal(connection.state, "stopped");
  assert.deepEqual([server.received("subscribe").length, clock.delays], [1, []], "nothing is left running");
});

test("who stops as soon as it is online is asked for nothing and told nothing", async () => {
  server.script.connect = { ok: { ...WELCOME, topics: { "room.42": { epoch: "e", seq: 3, recovered: false } } } };
  server.script.subscribe = { ok: {} };
  const told = [];
  connection = new Connection({ url: "wss://example.test/", WebSocket: server.WebSocket, clock, random: () => 0.5 });
  connection.addEventListener("state", ({ detail }) => detail.state === "online" && connection.stop());
  for (const type of ["begin", "push", "reset"]) connection.addEventListener(type, () => told.push(type));
  connection.start();
  await clock.advance(60_000);
  assert.deepEqual([told, server.socket.received.map(({ cmd }) => cmd)], [[], ["connect"]]);
  assert.deepEqual(clock.delays, [], "nothing is left running");
});

test("receipts of a topic are told with its recovery", async () => {
  const receipts = [{ user: 8, delivered_seq: 3, read_seq: 2 }];
  server.script.connect = { ok: { ...WELCOME, topics: { "room.42": { epoch: "e", seq: 3, recovered: false, receipts } } } };
  const told = [];
  connection = new Connection({ url: "wss://example.test/", WebSocket: server.WebSocket, clock, random: () => 0.5 });
  connection.addEventListener("receipts", ({ detail }) => told.push(detail));
  connection.start();
  await settle();
  assert.deepEqual(told, [{ topic: "room.42", receipts }]);
});

test("a topic without a cursor, or without a log, begins with a snapshot on each connection that cannot say more", async () => {
  const seen = [];
  server.script.connect = { ok: { ...WELCOME, topics: { "room.42": { epoch: "e", seq: 3, recovered: false }, "user.7": { recovered: false } } } };
  connection = new Connection({ url: "wss://example.test/", WebSocket: server.WebSocket, clock, random: () => 0.5 });
  for (const type of ["begin", "reset"]) connection.addEventListener(type, ({ detail: { topic, seq } }) => seen.push([type, topic, seq]));
  connection.start();
  await settle();
  assert.deepEqual(seen.splice(0), [["begin", "room.42", 3], ["begin", "user.7", null]]);
  await server.close(1006);
  server.script.connect.ok.topics["room.42"] = { epoch: "f", seq: 1, recovered: false, reason: "epoch_changed" };
  await clock.advance(250);
  assert.deepEqual(seen, [["reset", "room.42", 1], ["begin", "user.7", null]]);
});

test("no more than 200 cursors go with `connect`; the topics beyond are asked for", async () => {
  const cursors = Object.fromEntries(Array.from({ length: 201 }, (_, id) => [`room.${id}`, ["e", 1]]));
  const topics = Object.fromEntries(Object.keys(cursors).map((topic) => [topic, { epoch: "e", seq: 1, recovered: topic !== "room.0" }]));
  topics["room.0"].seq = 2;
  server.script.connect = { ok: { ...WELCOME, topics } };
  server.script["topic.recover"] = null;
  await connect({ cursors });
  assert.equal(Object.keys(server.received("connect")[0].cursors).length, 200);
  await clock.advance(0);
  assert.deepEqual(server.received("topic.recover").map(({ topic, seq }) => [topic, seq]), [["room.0", 1]]);
});

test("wake connects at once while waiting, and checks the link while online", async () => {
  await connect();
  await server.close(1006);
  connection.wake();
  await settle();
  assert.equal(last().state, "online");
  connection.wake();
  assert.equal(server.received("heartbeat").length, 1);
});

test("stop leaves, answers nothing more, and start comes back", async () => {
  await connect();
  const [socket] = server.sockets;
  connection.stop();
  connection.stop();
  assert.equal(socket.closedByClient, 1000);
  assert.equal(connection.state, "stopped");
  connection.wake();
  await clock.advance(60_000);
  assert.equal(server.sockets.length, 1);
  connection.start();
  connection.start();
  await settle();
  assert.equal(connection.state, "online");
  assert.equal(server.sockets.length, 2);
});

test("stop while the credential is on its way opens no socket", async () => {
  let give;
  await connect({ credential: () => new Promise((resolve) => (give = resolve)) });
  connection.stop();
  give({ ticket: "late" });
  await settle();
  assert.equal(server.sockets.length, 0);
});
