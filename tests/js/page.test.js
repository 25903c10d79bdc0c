import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { ChatPage } from "djwsbridge/chat/state/page.js";
import { Connection } from "djwsbridge/connection.js";
import { MemoryStore } from "djwsbridge/outbox_store.js";
import { ALICE, BOB, message, pageData, room } from "./chat_fixtures.js";
import { FakeClock, settle } from "./fake_clock.js";
import { FakeServer, WELCOME } from "./fake_server.js";

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

function open(fields = {}, options = {}) {
  let ids = 0;
  const connection = new Connection({ url: "ws://example.test/", WebSocket: server.WebSocket, clock, random: () => 0.5 });
  const page = new ChatPage({
    data: pageData(fields), connection, api, clock, random: () => 0.5,
    makeId: () => `own-${(ids += 1)}`, nowIso: () => "2026-01-01T10:00:00Z", ...options,
  });
  connection.start();
  return settle().then(() => page);
}

const sent = (seq) => ({ push: "message.sent", topic: "room.42", seq, data: message(seq) });
const connected = (report, others = {}) => ({ ok: { ...WELCOME, topics: { ...others, "room.42": report } } });
const seqs = (page) => page.timeline.messages.map(({ seq }) => seq);

beforeEach(() => {
  clock = new FakeClock();
  stored = [message(1), message(2), message(3)];
  server = makeServer();
  server.script.connect = connected({ epoch: "e", seq: 3, recovered: false });
  api = { listRooms: async () => ({ rooms: [] }), listMessages: async () => ({ messages: [] }), openDirect: async () => room(42, { kind: "direct", peer: BOB }) };
});

test("what came between the page and the connection is fetched", async () => {
  stored.push(message(4), message(5));
  assert.deepEqual(seqs(await open()), [1, 2, 3, 4, 5]);
});

test("rooms that are only announced are fetched when they have moved, and the open one is listened to", async () => {
  const asked = [];
  const moved = room(43, { last_seq: 9, unread: 2 });
  api.listRooms = async (ids) => (asked.push(ids), { rooms: [moved] });
  server.script.connect = { ok: { ...WELCOME, topics: {}, announced: { "room.42": 4, "room.43": 7, "room.44": 0 } } };
  server.script.subscribe = { ok: {} };
  stored.push(message(4));
  const page = await open({ rooms: [room(42, { last_seq: 3 }), room(43, { last_seq: 7 }), room(44)] });
  assert.deepEqual(server.received("subscribe").map(({ topic }) => topic), ["room.42"]);
  assert.deepEqual(seqs(page), [1, 2, 3, 4], "what came before the subscription");
  assert.deepEqual(asked, [[42]]);

  await server.push("topics.moved", { topic: null, seq: null, data: { topics: { "room.43": 9, "room.44": 0 } } });
  await server.push("topics.moved", { topic: null, seq: null, data: { topics: { "room.43": 10 } } });
  await clock.advance(1_000);
  assert.deepEqual(asked, [[42], [43]], "together, and not at once");
  assert.equal(page.rooms.get(43).unread, 2);
  assert.equal(page.rooms.rooms.length, 3);
});

test("when very many rooms have moved, the whole list is fetched", async () => {
  const asked = [];
  api.listRooms = async (ids) => (asked.push(ids), { rooms: [] });
  await open();
  const many = Object.fromEntries(Array.from({ length: 201 }, (_, n) => [`room.${100 + n}`, 5]));
  await server.push("topics.moved", { topic: null, seq: null, data: { topics: many } });
  assert.deepEqual(asked, [null]);
});

test("a gap is recovered before anything behind it is shown", async () => {
  const page = await open();
  server.script["topic.recover"] = null;
  await server.push("message.sent", { seq: 6, data: message(6) });
  await clock.advance(200);
  assert.deepEqual(seqs(page), [1, 2, 3]);
  const [asked] = server.received("topic.recover");
  assert.deepEqual([asked.topic, asked.epoch, asked.seq], ["room.42", "e", 3]);
  await server.reply(asked, { ok: { epoch: "e", seq: 6, recovered: true, events: [4, 5, 6].map(sent) } });
  assert.deepEqual(seqs(page), [1, 2, 3, 4, 5, 6]);
});

test("after a lost connection nothing is missing and nothing double", async () => {
  const page = await open();
  await server.close(1006);
  server.script.connect = connected({ epoch: "e", seq: 5, recovered: true, events: [4, 5].map(sent) });
  await clock.advance(1000);
  await server.push("message.sent", { seq: 5, data: message(5) });
  assert.deepEqual(seqs(page), [1, 2, 3, 4, 5]);
  assert.equal(server.received("message.list").length, 1, "no snapshot was needed");
  assert.deepEqual(server.received("connect")[1].cursors["room.42"], ["e", 3]);
});

test("other events of the room take seqs, and leave no hole in the messages", async () => {
  const page = await open();
  const carol = { id: 9, name: "carol" };
  await server.push("member.joined", { seq: 4, data: { room: 42, user: carol } });
  await server.push("message.sent", { seq: 5, data: message(5) });
  assert.deepEqual([seqs(page), page.members.has(9), page.rooms.get(42).unread], [[1, 2, 3, 5], true, 1]);
  page.markRead();
  assert.equal(page.rooms.get(42).unread, 0);
});

test("a history that cannot be recovered is loaded anew, and what is pushed meanwhile comes after it", async () => {
  const page = await open();
  await server.close(1006);
  server.script.connect = connected({ epoch: "e", seq: 5, recovered: false });
  const { "message.list": list } = server.script;
  server.script["message.list"] = null;
  await clock.advance(1000);
  await server.push("message.sent", { seq: 6, data: message(6) });
  assert.deepEqual(seqs(page), [1, 2, 3], "nothing is shown behind a hole");
  stored.push(message(4), message(5), message(6));
  const [asked] = server.received("message.list").slice(-1);
  await server.reply(asked, list(asked));
  assert.deepEqual(seqs(page), [1, 2, 3, 4, 5, 6]);
});

test("a history that was replaced is said so: the page begins anew", async () => {
  const page = await open();
  let replaced = 0;
  page.addEventListener("replaced", () => (replaced += 1));
  await server.close(1006);
  server.script.connect = connected({ epoch: "f", seq: 2, recovered: false, reason: "epoch_changed" });
  await clock.advance(1000);
  assert.equal(replaced, 1);
});

test("a snapshot that a lost connection cut off is loaded by the next one, though that recovers", async () => {
  const { "message.list": list } = server.script;
  server.script["message.list"] = null;
  stored.push(message(4), message(5));
  server.script.connect = connected({ epoch: "e", seq: 5, recovered: false });
  const page = await open();
  await server.close(1006);
  server.script["message.list"] = list;
  server.script.connect = connected({ epoch: "e", seq: 6, recovered: true, events: [sent(6)] });
  await clock.advance(1000);
  assert.deepEqual(seqs(page), [1, 2, 3, 4, 5, 6]);
});

test("a snapshot that fails for a moment is tried again", async () => {
  stored.push(message(4), message(5));
  const { "message.list": list } = server.script;
  server.script["message.list"] = { error: { code: "busy", message: "", retryable: true } };
  const page = await open();
  server.script["message.list"] = list;
  await clock.advance(1000);
  assert.deepEqual(seqs(page), [1, 2, 3, 4, 5]);
});

test("who was away for very long starts over with the newest messages", async () => {
  for (let seq = 4; seq <= 700; seq += 1) stored.push(message(seq));
  server.script.connect = connected({ epoch: "e", seq: 700, recovered: false });
  const page = await open();
  assert.deepEqual([seqs(page)[0], seqs(page).at(-1)], [651, 700]);
  assert.equal(page.timeline.hasOlder, true);
});

test("older messages that arrive after such a start are dropped", async () => {
  let give;
  api.listMessages = () => new Promise((resolve) => (give = resolve));
  stored = [message(10), message(11)];
  const page = await open({ messages: [message(10), message(11)] });
  const loading = page.loadOlder();
  page.timeline.reset([message(90)], 90);
  give({ messages: [message(9)] });
  await loading;
  assert.deepEqual(seqs(page), [90]);
});

test("a message shows at once, is confirmed by its reply, and takes its place with its push", async () => {
  const page = await open();
  server.script["message.send"] = null;
  page.send("hello");
  await settle();
  assert.deepEqual(page.entries.map(({ state }) => state), ["sending"]);
  const [asked] = server.received("message.send");
  const own = message(5, { sender: ALICE, body: "hello", client_message_id: asked.client_message_id });
  await server.reply(asked, { ok: own });
  assert.deepEqual([page.entries, page.timeline.echoes.map(({ seq }) => seq), seqs(page)], [[], [5], [1, 2, 3]]);
  await server.push("message.sent", { seq: 4, data: message(4) });
  await server.push("message.sent", { seq: 5, data: own });
  assert.deepEqual([page.timeline.echoes, seqs(page)], [[], [1, 2, 3, 4, 5]]);
});

test("its own push confirms a message whose reply never comes", async () => {
  const page = await open();
  server.script["message.send"] = null;
  page.send("second");
  await settle();
  const [asked] = server.received("message.send");
  const own = message(4, { sender: ALICE, body: "second", client_message_id: asked.client_message_id });
  await server.push("message.sent", { seq: 4, data: own });
  assert.deepEqual([page.entries, seqs(page)], [[], [1, 2, 3, 4]]);
  await server.reply(asked, { ok: own });
  assert.deepEqual([page.timeline.echoes, seqs(page)], [[], [1, 2, 3, 4]]);
});

test("what was written without a connection goes out in order when it is back, each stored once", async () => {
  const page = await open();
  server.script["message.send"] = null;
  page.send("a"); // reaches the server, the reply is lost
  await settle();
  stored.push(message(4, { sender: ALICE, body: "a", client_message_id: "own-1" }));
  await server.close(1006);
  page.send("b");
  page.send("c");
  assert.deepEqual(page.entries.map(({ state }) => state), ["queued", "queued", "queued"]);
  server.script["message.send"] = makeServer().script["message.send"];
  server.script.connect = connected({ epoch: "e", seq: 3, recovered: true });
  await clock.advance(1000);
  assert.deepEqual(stored.slice(3).map(({ body }) => body), ["a", "b", "c"]);
  assert.deepEqual([page.entries, page.timeline.echoes.map(({ seq }) => seq)], [[], [4, 5, 6]]);
});

test("when the connection stops for good, what waits is kept for the next page", async () => {
  const page = await open();
  server.script["message.send"] = null;
  page.send("a");
  await settle();
  await server.close(4410);
  assert.deepEqual(page.entries.map(({ state, body }) => [state, body]), [["queued", "a"]]);
});

test("what another page of the person has left is sent from here, and shown where it belongs", async () => {
  const store = new MemoryStore();
  const record = { lane: "direct 9", target: { peer: 9 }, body: "psst", created: "2026-01-01T10:00:00Z", order: 1, state: "queued", error: null };
  await store.put({ client_message_id: "left-1", ...record });
  api.openDirect = async () => room(77, { kind: "direct" });
  const page = await open({}, { store });
  await settle();
  await settle();
  assert.deepEqual(server.received("message.send").map((each) => [each.room, each.body, each.client_message_id]), [[77, "psst", "left-1"]]);
  assert.deepEqual([page.room.id, page.entries], [42, []]);
});

test("the first private message makes the room", async () => {
  const opened = [];
  api.openDirect = async (id) => (opened.push(id), room(42, { kind: "direct", peer: BOB }));
  stored = [];
  const page = await open({ room: null, rooms: [], peer: BOB, messages: [], last_seq: 0, members: [] });
  page.send("psst");
  page.send("again");
  await settle();
  await settle();
  assert.deepEqual(opened, [8]);
  assert.equal(page.room.id, 42);
  assert.deepEqual(page.rooms.rooms.map(({ id }) => id), [42]);
  assert.deepEqual(page.timeline.echoes.map(({ body }) => body), ["psst", "again"]);
});

test("a private room that the other one makes is taken over", async () => {
  stored = [message(1)];
  const page = await open({ room: null, rooms: [], peer: BOB, messages: [], last_seq: 0, members: [] });
  await server.push("room.joined", { topic: "user.7", data: { room: room(42, { kind: "direct", peer: BOB, last_seq: 1 }) } });
  assert.deepEqual(seqs(page), [1]);
});

test("presence: listed after connect, changed by pushes, one's own included", async () => {
  server.script["presence.list"] = null;
  const page = await open();
  assert.deepEqual(page.people, { online: [ALICE], offline: [], unlisted: 0, isAlone: false }, "nobody is called offline yet");
  await server.reply(server.received("presence.list")[0], { ok: { users: [ALICE, BOB] } });
  assert.deepEqual(page.people, { online: [ALICE, BOB], offline: [], unlisted: 0, isAlone: false });
  await server.push("presence.changed", { data: { user: BOB, state: "offline" } });
  assert.deepEqual(page.people, { online: [ALICE], offline: [BOB], unlisted: 0, isAlone: true });
  assert.equal(page.presence.lastSeen(BOB.id), "2026-01-01T10:00:00Z");
});

test("presence is asked for the open room first and for a bounded number of others", async () => {
  const topics = Object.fromEntries(Array.from({ length: 80 }, (_, id) => [`room.${id + 1}`, { recovered: false }]));
  server.script.connect = { ok: { ...WELCOME, topics } };
  await open();
  const asked = server.received("presence.list").map(({ topic }) => topic);
  assert.deepEqual([asked[0], asked.length], ["room.42", 20]);
});

test("presence is asked for every direct room, the first at once and the others one by one", async () => {
  const rooms = Array.from({ length: 25 }, (_, n) => room(100 + n, { kind: "direct", peer: { id: 50 + n, name: `p${n}` } }));
  const topics = Object.fromEntries(rooms.map(({ id }) => [`room.${id}`, { epoch: "e", seq: 0, recovered: false }]));
  server.script.connect = { ok: { ...WELCOME, topics } };
  const page = await open({ rooms });
  const asked = () => server.received("presence.list").length;
  assert.equal(asked(), 20);
  server.script["presence.list"] = { ok: { users: [{ id: 74, name: "p24" }] } };
  await clock.advance(2_000);
  assert.equal(asked(), 21);
  for (let step = 0; step < 6; step += 1) await clock.advance(2_000);
  assert.equal(asked(), 25);
  assert.equal(page.presence.isOnline(74), true);
});

test("members beyond those that are listed are counted: nothing is read by all who were not asked", async () => {
  const dora = { id: 10, name: "dora", online: true, last_seen: null };
  const members = [{ ...ALICE, online: true, last_seen: null }, { ...BOB, online: false, last_seen: null }, dora];
  server.script["room.members"] = { ok: { members, count: 1_002 } };
  const page = await open();
  assert.equal(page.members.unlisted, 999);
  assert.deepEqual(page.people.online.map(({ name }) => name), ["alice", "bob", "dora"], "more than presence.list has named");
  page.receipts.take("room.42", [BOB, dora].map(({ id }) => ({ user: id, delivered_seq: 3, read_seq: 3 })));
  const { state, read, of } = page.receipts.progressOf("room.42", 3, page.readers, page.members.unlisted);
  assert.deepEqual([state, read, of], ["sent", 2, 1_001]);
});

test("members come and go, and a room that was left says so", async () => {
  const page = await open();
  const carol = { id: 9, name: "carol" };
  await server.push("member.joined", { data: { room: 42, user: carol } });
  assert.equal(page.members.has(9), true);
  await server.push("member.left", { data: { room: 42, user: BOB } });
  assert.deepEqual([...page.members.keys()], [7, 9]);
  await server.push("room.left", { topic: "user.7", data: { room: 42 } });
  assert.equal(page.room.is_member, false);
  assert.equal(page.rooms.get(42).is_member, false);
});

test("other rooms count what is unread; a room joined elsewhere appears", async () => {
  const page = await open({ rooms: [room(42), room(43)] });
  await server.push("message.sent", { topic: "room.43", seq: 1, data: message(1, { room: 43 }) });
  assert.equal(page.rooms.get(43).unread, 1);
  assert.deepEqual(seqs(page), [1, 2, 3]);
  await server.push("room.joined", { topic: "user.7", data: { room: room(44) } });
  assert.equal(page.rooms.rooms[0].id, 44);
});

test("the room list is fetched anew when a room has moved on unseen, and only then", async () => {
  let listed = 0;
  api.listRooms = async () => ((listed += 1), { rooms: [room(42, { last_seq: 3, read_seq: 3 }), room(50, { last_seq: 9, unread: 4 })] });
  server.script.connect = connected({ epoch: "e", seq: 3, recovered: false }, { "room.50": { epoch: "e", seq: 5, recovered: false } });
  const page = await open({ rooms: [room(42, { last_seq: 3 }), room(50, { last_seq: 5 })] });
  assert.equal(listed, 0);
  await server.close(1012);
  server.script.connect = connected({ epoch: "e", seq: 3, recovered: true }, { "room.50": { epoch: "e2", seq: 9, recovered: false } });
  await clock.advance(1000);
  assert.deepEqual([listed, page.rooms.get(50).unread], [1, 4]);
});

test("what the page has is acknowledged, the open room when its snapshot is there", async () => {
  stored.push(message(4));
  server.script.ack = { ok: {} };
  server.script.connect = connected({ epoch: "e", seq: 4, recovered: false }, { "room.50": { epoch: "e", seq: 5, recovered: false } });
  const page = await open({ rooms: [room(42, { last_seq: 3 }), room(50, { last_seq: 5 })] });
  await clock.advance(2000);
  const said = Object.assign({}, ...server.received("ack").map(({ seqs: each }) => each));
  assert.deepEqual(said, { "room.42": 4, "room.50": 5 });
  stored.push(message(5));
  page.timeline.addEventListener("change", () => page.markRead());
  await server.push("message.sent", { seq: 5, data: message(5) });
  await clock.advance(5000);
  assert.deepEqual(server.received("room.mark_read").map(({ seq }) => seq), [5]);
  assert.equal(server.received("ack").some(({ seqs: each }) => each["room.42"] === 5), false, "reading says it already");
});

test("typing: said at most every three seconds, heard for six, and over with the message", async () => {
  server.script["typing.set"] = { ok: {} };
  const page = await open();
  for (let key = 0; key < 50; key += 1) {
    page.touchTyping();
    await clock.advance(100);
  }
  assert.equal(server.received("typing.set").length, 2);
  const typing = () => page.typing.users.map(({ name }) => name);
  const push = (user, fields = {}) => server.push("typing", { data: { room: 42, user, ...fields } });
  await push(BOB);
  await push(ALICE);
  await push({ id: 9, name: "carol" }, { room: 43 });
  assert.deepEqual(typing(), ["bob"], "neither oneself nor other rooms");
  await clock.advance(5999);
  await push(BOB);
  await clock.advance(5999);
  assert.deepEqual(typing(), ["bob"]);
  await clock.advance(1);
  assert.deepEqual(typing(), []);
  await push(BOB);
  await server.push("message.sent", { seq: 4, data: message(4) });
  assert.deepEqual(typing(), []);
  await push(BOB);
  await server.close(1006);
  page.touchTyping();
  assert.deepEqual([typing(), server.received("typing.set").length], [[], 2]);
});

test("receipts: one's own message is sent, delivered and read, as the slowest of its readers is", async () => {
  const carol = { id: 9, name: "carol" };
  const receipts = [{ user: 7, delivered_seq: 3, read_seq: 3 }, { user: 8, delivered_seq: 3, read_seq: 2 }, { user: 9, delivered_seq: 2 }];
  server.script.connect = connected({ epoch: "e", seq: 3, recovered: false, receipts });
  const page = await open({ members: [ALICE, BOB, carol] });
  const states = () => [2, 3].map((seq) => page.receipts.progressOf(page.topic, seq, page.readers).state);
  assert.deepEqual(states(), ["delivered", "sent"]);
  await server.push("receipt", { data: { room: 42, user: 9, delivered_seq: 3, read_seq: 3 } });
  assert.deepEqual(states(), ["read", "delivered"]);
  await server.push("receipt", { data: { room: 42, user: 9, delivered_seq: 1 } });
  await server.push("receipt", { data: { room: 42, user: 8, delivered_seq: 3, read_seq: 3 } });
  assert.deepEqual(states(), ["read", "read"], "pointers only grow");
});

test("what was read on another device is read here, too", async () => {
  const page = await open({ rooms: [room(42), room(43, { last_seq: 4, unread: 3, read_seq: 1 })] });
  await server.push("receipt", { topic: "room.43", data: { room: 43, user: 7, delivered_seq: 4, read_seq: 4 } });
  assert.equal(page.rooms.get(43).unread, 0);
});

test("the setting of read receipts goes to the server", async () => {
  const saved = [];
  api.updateMe = async (settings) => saved.push(settings);
  const page = await open();
  await page.setReadReceipts(false);
  assert.deepEqual(saved, [{ read_receipts: false }]);
});

test("reading is said at once, then at most every two seconds, and again after a reconnect", async () => {
  const page = await open();
  const said = () => server.received("room.mark_read").map(({ seq }) => seq);
  for (const seq of [4, 5, 6]) {
    stored.push(message(seq));
    await server.push("message.sent", { seq, data: message(seq) });
    page.markRead();
  }
  assert.deepEqual(said(), [4]);
  assert.equal(page.rooms.get(42).unread, 0);
  await clock.advance(2000);
  assert.deepEqual(said(), [4, 6]);
  await clock.advance(20_000);
  page.markRead();
  assert.deepEqual(said(), [4, 6]);
  server.script["room.mark_read"] = null;
  stored.push(message(7));
  await server.push("message.sent", { seq: 7, data: message(7) });
  page.markRead();
  await server.close(1006);
  await clock.advance(1000);
  assert.deepEqual(said(), [4, 6, 7, 7]);
});

test("a message that was erased takes its place without its text, and what follows comes after it", async () => {
  const page = await open();
  const erased = message(4, { body: "", sender: ALICE });
  stored.push(erased, message(5));
  await server.push("message.sent", { seq: 4, data: { scrubbed: true } });
  await server.push("message.sent", { seq: 5, data: message(5) });
  assert.deepEqual(seqs(page), [1, 2, 3, 4, 5]);
  assert.deepEqual(page.timeline.messages[3], erased);
});

test("an erased message of another room has the list of rooms loaded anew", async () => {
  const page = await open();
  const other = room(43, { unread: 1, last_message: message(9, { room: 43, body: "" }) });
  api.listRooms = async () => ({ rooms: [room(42), other] });
  await server.push("message.sent", { topic: "room.43", seq: 9, data: { scrubbed: true } });
  await settle();
  assert.deepEqual([page.rooms.get(43), page.timeline.messages.length], [other, 3]);
});

test("what `connect` had no room to say of the open room is asked for at once", async () => {
  server.script.connect = connected({ epoch: "e", seq: 3, recovered: false, omitted: true });
  const receipts = [{ user: 8, delivered_seq: 3, read_seq: 2 }];
  server.script["topic.recover"] = { ok: { epoch: "e", seq: 3, recovered: true, receipts } };
  const page = await open();
  await clock.advance(0);
  assert.equal(page.receipts.progressOf("room.42", 3, page.readers).state, "delivered");
});

test("a history in several pages is taken up page by page", async () => {
  stored.push(message(4), message(5), message(6));
  server.script.connect = connected({ epoch: "e", seq: 6, recovered: false });
  server.script["message.list"] = ({ after }) => {
    const missed = stored.filter(({ seq }) => seq > after);
    return { ok: { messages: missed.slice(0, 1), last_seq: 6, more: missed.length > 1 } };
  };
  const page = await open();
  await server.push("message.sent", { seq: 7, data: message(7) });
  assert.deepEqual(seqs(page), [1, 2, 3, 4, 5, 6, 7]);
});

for (const [kind, alice, other] of [["numbers", 7, 8], ["texts", "6fa459ea-ee8a-3ca4-894e-db77e160355e", "7"]]) {
  test(`when the browser is another person's by now, the page sends and shows nothing and begins anew (ids that are ${kind})`, async () => {
    const me = { id: alice, name: "alice" };
    const events = [sent(4)];
    server.script.ack = { ok: {} };
    server.script.subscribe = { ok: {} };
    server.script.connect.ok.user = { ...me };
    const store = new MemoryStore();
    const page = await open({ user: me, members: [me, BOB] }, { store });
    await page.connection.subscribe("order.1");
    page.send("confirmed");
    await server.push("message.sent", { seq: 4, data: message(4) }); // read, and to be acknowledged
    await server.close(1006);
    page.send("of alice");
    page.markRead();
    const told = [];
    page.addEventListener("replaced", () => told.push("replaced"));
    page.addEventListener("status", ({ detail }) => told.push(detail.state));
    server.script.connect = { ok: { ...WELCOME, user: { id: other, name: "bob" }, topics: { "room.42": { epoch: "e", seq: 4, recovered: true, events } } } };
    const before = seqs(page);
    await clock.advance(250);
    const [, second] = server.sockets;
    await clock.advance(60_000);
    page.connection.wake();
    await settle();
    assert.deepEqual(second.received.map(({ cmd }) => cmd), ["connect"]);
    assert.deepEqual(told, ["connecting", "stopped", "replaced"], "it was never online");
    assert.deepEqual([page.connection.state, server.sockets.length, seqs(page)], ["stopped", 2, before]);
    assert.deepEqual(page.entries.map(({ body }) => body), ["of alice"]);
    assert.deepEqual((await store.load()).map(({ body }) => body), ["of alice"], "for the day on which she is back");
  });
}

test("an id that is a number here and a text there is the same person's", async () => {
  server.script.connect.ok.user = { ...ALICE, id: String(ALICE.id) };
  assert.equal((await open()).connection.state, "online");
});

test("what a long recovery had the page let go can be loaded again", async () => {
  const page = await open();
  await server.close(1006);
  for (let seq = 4; seq <= 1203; seq += 1) stored.push(message(seq));
  server.script.connect = connected({ epoch: "e", seq: 1203, recovered: true, events: stored.slice(3).map(({ seq }) => sent(seq)) });
  await clock.advance(1000);
  page.timeline.trim();
  assert.deepEqual([page.timeline.first, page.timeline.last], [204, 1203]);
  const asked = [];
  api.listMessages = async (room, before, limit) => (asked.push([room, before, limit]), { messages: stored.filter(({ seq }) => seq < before).slice(-limit) });
  await page.loadOlder();
  assert.deepEqual([asked, page.timeline.first], [[[42, 204, 50]], 154]);
  await server.push("message.sent", { seq: 1204, data: message(1204) });
  assert.equal(page.timeline.last, 1204);
});
