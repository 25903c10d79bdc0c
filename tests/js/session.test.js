import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { ChatSession } from "djwsbridge/chat/state/session.js";
import { Connection } from "djwsbridge/connection.js";
import { ALICE, BOB, message, pageData, room } from "./chat_fixtures.js";
import { FakeClock, settle } from "./fake_clock.js";
import { FakeServer, SESSION } from "./fake_server.js";

let clock;
let server;
let stored; // what the server has of room 42
let api;

/** A server that stores messages, as the real one does. */
function makeServer() {
  const list = ({ before, after, limit = 50 }) => {
    if (after !== undefined) return stored.filter(({ seq }) => seq > after).slice(0, limit);
    return stored.filter(({ seq }) => before === undefined || seq < before).slice(-limit);
  };
  return new FakeServer({
    "message.list": (frame) => ({ ok: { messages: list(frame), last_seq: stored.at(-1)?.seq ?? 0 } }),
    "message.send": ({ body, client_message_id }) => {
      let made = stored.find((each) => each.client_message_id === client_message_id);
      if (!made) stored.push((made = message(stored.length + 1, { sender: ALICE, body, client_message_id })));
      return { ok: made };
    },
    "presence.list": { ok: { users: [ALICE, BOB] } },
    "room.mark_read": ({ seq }) => ({ ok: { read_seq: seq } }),
  });
}

function open(fields = {}) {
  let ids = 0;
  const connection = new Connection({ url: "ws://example.test/", WebSocket: server.WebSocket, clock, random: () => 0.5 });
  const session = new ChatSession({
    data: pageData(fields), connection, api, clock, random: () => 0.5,
    makeId: () => `own-${(ids += 1)}`, nowIso: () => "2026-01-01T10:00:00Z",
  });
  connection.start();
  return settle().then(() => session);
}

const seqs = (session) => session.timeline.messages.map(({ seq }) => seq);

beforeEach(() => {
  clock = new FakeClock();
  stored = [message(1), message(2), message(3)];
  server = makeServer();
  api = { listRooms: async () => ({ rooms: [] }), listMessages: async () => ({ messages: [] }), openDirect: async () => room(42, { kind: "direct", peer: BOB }) };
});

test("what came between the page and the connection is fetched", async () => {
  stored.push(message(4), message(5));
  assert.deepEqual(seqs(await open()), [1, 2, 3, 4, 5]);
});

test("a gap is repaired before anything behind it is shown", async () => {
  const session = await open();
  stored.push(message(4), message(5), message(6));
  server.script["message.list"] = null;
  await server.push("message.sent", { seq: 6, data: message(6) });
  assert.deepEqual(seqs(session), [1, 2, 3]);
  const [asked] = server.received("message.list").slice(-1);
  assert.equal(asked.after, 3);
  await server.reply(asked, { ok: { messages: [message(4), message(5)], last_seq: 5 } });
  assert.deepEqual(seqs(session), [1, 2, 3, 4, 5, 6]);
});

test("after a lost connection nothing is missing and nothing double", async () => {
  const session = await open();
  await server.close(1006);
  stored.push(message(4), message(5));
  await clock.advance(1000);
  await server.push("message.sent", { seq: 5, data: message(5) });
  assert.deepEqual(seqs(session), [1, 2, 3, 4, 5]);
});

test("a repair that fails for a moment is tried again", async () => {
  const session = await open();
  stored.push(message(4), message(5));
  const { "message.list": list } = server.script;
  server.script["message.list"] = { error: { code: "busy", message: "", retryable: true } };
  await server.push("message.sent", { seq: 5, data: message(5) });
  server.script["message.list"] = list;
  await clock.advance(1000);
  assert.deepEqual(seqs(session), [1, 2, 3, 4, 5]);
});

test("who was away for very long starts over with the newest messages", async () => {
  for (let seq = 4; seq <= 700; seq += 1) stored.push(message(seq));
  const session = await open();
  assert.deepEqual([seqs(session)[0], seqs(session).at(-1)], [651, 700]);
  assert.equal(session.timeline.hasOlder, true);
});

test("older messages that arrive after such a start are dropped", async () => {
  let give;
  api.listMessages = () => new Promise((resolve) => (give = resolve));
  stored = [message(10), message(11)];
  const session = await open({ messages: [message(10), message(11)] });
  const loading = session.loadOlder();
  session.timeline.reset([message(90)], 90);
  give({ messages: [message(9)] });
  await loading;
  assert.deepEqual(seqs(session), [90]);
});

test("a message shows at once, and is confirmed by the reply or by its own push, whichever is first", async () => {
  const session = await open();
  session.send("hello");
  assert.deepEqual(session.outbox.entries.map(({ state }) => state), ["sending"]);
  await settle();
  assert.deepEqual([session.outbox.entries.length, seqs(session).at(-1)], [0, 4]);

  server.script["message.send"] = null;
  session.send("second");
  const [asked] = server.received("message.send").slice(-1);
  const own = message(5, { sender: ALICE, body: "second", client_message_id: asked.client_message_id });
  await server.push("message.sent", { seq: 5, data: own });
  assert.equal(session.outbox.entries.length, 0);
  await server.reply(asked, { ok: own });
  assert.deepEqual(seqs(session), [1, 2, 3, 4, 5]);
});

test("what was written without a connection goes out in order when it is back, each stored once", async () => {
  const session = await open();
  server.script["message.send"] = null;
  session.send("a"); // reaches the server, the reply is lost
  stored.push(message(4, { sender: ALICE, body: "a", client_message_id: "own-1" }));
  await server.close(1006);
  session.send("b");
  session.send("c");
  assert.deepEqual(session.outbox.entries.map(({ state }) => state), ["waiting", "waiting", "waiting"]);
  server.script["message.send"] = makeServer().script["message.send"];
  await clock.advance(1000);
  assert.deepEqual(stored.slice(3).map(({ body }) => body), ["a", "b", "c"]);
  assert.deepEqual(seqs(session), [1, 2, 3, 4, 5, 6]);
});

test("when the connection stops for good, what waits is not sent and kept", async () => {
  const session = await open();
  server.script["message.send"] = null;
  session.send("a");
  await server.close(4410);
  assert.deepEqual(session.outbox.entries.map(({ state, body }) => [state, body]), [["failed", "a"]]);
});

test("the first private message makes the room", async () => {
  const opened = [];
  api.openDirect = async (id) => (opened.push(id), room(42, { kind: "direct", peer: BOB }));
  stored = [];
  const session = await open({ room: null, rooms: [], peer: BOB, messages: [], last_seq: 0, members: [] });
  session.send("psst");
  session.send("again");
  await settle();
  await settle();
  assert.deepEqual(opened, [8]);
  assert.equal(session.room.id, 42);
  assert.deepEqual(session.rooms.rooms.map(({ id }) => id), [42]);
  assert.deepEqual(session.timeline.messages.map(({ body }) => body), ["psst", "again"]);
});

test("a private room that the other one makes is taken over", async () => {
  stored = [message(1)];
  const session = await open({ room: null, rooms: [], peer: BOB, messages: [], last_seq: 0, members: [] });
  await server.push("room.joined", { topic: "user.7", data: { room: room(42, { kind: "direct", peer: BOB, last_seq: 1 }) } });
  assert.deepEqual(seqs(session), [1]);
});

test("presence: listed after connect, changed by pushes, one's own included", async () => {
  server.script["presence.list"] = null;
  const session = await open();
  assert.deepEqual(session.people, { online: [ALICE], offline: [], isAlone: false }, "nobody is called offline yet");
  await server.reply(server.received("presence.list")[0], { ok: { users: [ALICE, BOB] } });
  assert.deepEqual(session.people, { online: [ALICE, BOB], offline: [], isAlone: false });
  await server.push("presence.changed", { data: { user: BOB, state: "offline" } });
  assert.deepEqual(session.people, { online: [ALICE], offline: [BOB], isAlone: true });
});

test("presence is asked for the open room first and for a bounded number of others", async () => {
  const topics = Object.fromEntries(Array.from({ length: 80 }, (_, id) => [`room.${id + 1}`, { recovered: false }]));
  server.script.connect = { ok: { ...SESSION, topics } };
  await open();
  const asked = server.received("presence.list").map(({ topic }) => topic);
  assert.deepEqual([asked[0], asked.length], ["room.42", 20]);
});

test("members come and go, and a room that was left says so", async () => {
  const session = await open();
  const carol = { id: 9, name: "carol" };
  await server.push("member.joined", { data: { room: 42, user: carol } });
  assert.equal(session.members.has(9), true);
  await server.push("member.left", { data: { room: 42, user: BOB } });
  assert.deepEqual([...session.members.keys()], [7, 9]);
  await server.push("room.left", { topic: "user.7", data: { room: 42 } });
  assert.equal(session.room.is_member, false);
  assert.equal(session.rooms.get(42).is_member, false);
});

test("other rooms count what is unread; a room joined elsewhere appears", async () => {
  const session = await open({ rooms: [room(42), room(43)] });
  await server.push("message.sent", { topic: "room.43", seq: 1, data: message(1, { room: 43 }) });
  assert.equal(session.rooms.get(43).unread, 1);
  assert.deepEqual(seqs(session), [1, 2, 3]);
  await server.push("room.joined", { topic: "user.7", data: { room: room(44) } });
  assert.equal(session.rooms.rooms[0].id, 44);
});

test("after a reconnect the room list is fetched anew", async () => {
  const session = await open();
  api.listRooms = async () => ({ rooms: [room(42), room(50, { unread: 4 })] });
  await server.close(1012);
  await clock.advance(1000);
  assert.equal(session.rooms.get(50).unread, 4);
});

test("reading is said at once, then at most every two seconds, and again after a reconnect", async () => {
  const session = await open();
  const said = () => server.received("room.mark_read").map(({ seq }) => seq);
  for (const seq of [4, 5, 6]) {
    stored.push(message(seq));
    await server.push("message.sent", { seq, data: message(seq) });
    session.markRead();
  }
  assert.deepEqual(said(), [4]);
  assert.equal(session.rooms.get(42).unread, 0);
  await clock.advance(2000);
  assert.deepEqual(said(), [4, 6]);
  await clock.advance(20_000);
  session.markRead();
  assert.deepEqual(said(), [4, 6]);
  server.script["room.mark_read"] = null;
  stored.push(message(7));
  await server.push("message.sent", { seq: 7, data: message(7) });
  session.markRead();
  await server.close(1006);
  await clock.advance(1000);
  assert.deepEqual(said(), [4, 6, 7, 7]);
});
