import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Connection } from "djwsbridge/connection.js";
import { BridgeError } from "djwsbridge/protocol.js";
import { watchRefusals } from "djwsbridge/refusals.js";
import { FakeClock, settle } from "./fake_clock.js";
import { FakeServer } from "./fake_server.js";

const ORIGIN = "https://app.example.test";
const ANSWER = { reason: "origin", message: "The site does not let this page connect." };

let clock;
let server;
let asked;
let told;
let respond;
let credential;

beforeEach(async () => {
  clock = new FakeClock();
  server = new FakeServer();
  server.accepting = false;
  [asked, told] = [[], []];
  respond = () => Response.json(ANSWER);
  credential = async () => ({});
  const connection = new Connection({
    url: "wss://example.test/ws/", WebSocket: server.WebSocket, clock, random: () => 0.5, credential: () => credential(),
  });
  connection.addEventListener("refused", ({ detail }) => told.push(detail));
  watchRefusals(connection, { url: "/djwsbridge/socket/", origin: ORIGIN, fetch: async (url) => (asked.push(url), respond()) });
  connection.start();
  await settle();
});

/** Let handshakes fail as a browser tells it, each after the back-off. */
async function fail(count, code = 1006) {
  for (let each = 0; each < count; each += 1) {
    await server.close(code);
    await settle();
    await clock.advance(10_000);
  }
}

test("refusals: a page whose handshakes fail again and again is told why, by HTTP", async () => {
  await fail(1);
  assert.deepEqual([asked, told], [[], []], "one may fail");
  await fail(1);
  assert.deepEqual([asked, told], [[`/djwsbridge/socket/?origin=${encodeURIComponent(ORIGIN)}`], [ANSWER]]);
  await fail(14);
  assert.equal(asked.length, 4, "after the 2nd, 4th, 8th and 16th");
});

test("refusals: without a network nothing is told", async () => {
  respond = () => { throw new TypeError("Failed to fetch"); };
  await fail(4);
  assert.deepEqual([asked.length, told], [2, []]);
});

test("refusals: an answer that is none tells nothing", async () => {
  respond = () => new Response("<!doctype html>", { status: 200 });
  await fail(2);
  respond = () => Response.json(ANSWER, { status: 401 });
  await fail(2);
  assert.deepEqual([asked.length, told], [2, []]);
});

test("refusals: a server that says itself why it closes is not asked", async () => {
  await fail(4, 1013);
  assert.deepEqual(asked, []);
});

test("refusals: what is told too late is not told, and a connection begins anew", async () => {
  let answer;
  respond = () => new Promise((resolve) => (answer = resolve));
  await fail(1);
  server.accepting = true;
  await fail(1);
  answer(Response.json(ANSWER));
  await settle();
  assert.deepEqual([asked.length, told], [1, []]);
  await server.close(1006);
  await settle();
  assert.equal(asked.length, 1, "the first failure in a row");
});

test("refusals: a server that is not reached may be starting again, so that is told from the fourth failure on", async () => {
  respond = () => Response.json({ ...ANSWER, reason: "unreached" });
  await fail(3);
  assert.deepEqual([asked.length, told], [1, []]);
  await fail(1);
  assert.deepEqual(told.map(({ reason }) => reason), ["unreached"]);
});

test("refusals: an attempt without a credential is no handshake", async () => {
  await fail(1);
  let attempts = 0;
  credential = async () => {
    attempts += 1;
    throw new BridgeError("busy", "No ticket.", { retryable: true });
  };
  await fail(1);
  assert.equal(asked.length, 1, "two handshakes have failed");
  while (attempts < 4) await clock.advance(1_000);
  assert.equal(asked.length, 1, "none was made since");
  credential = async () => ({});
  const made = server.sockets.length;
  while (server.sockets.length === made) await clock.advance(1_000);
  await fail(2);
  assert.equal(asked.length, 2, "the fourth that has failed in a row");
});

test("refusals: a server that answers a connect with an error has been reached", async () => {
  server.accepting = true;
  server.script.connect = { error: { code: "busy", message: "The server is busy.", retryable: true } };
  await fail(1);
  while (server.sockets.length < 6) await clock.advance(1_000);
  assert.deepEqual(asked, []);
});
