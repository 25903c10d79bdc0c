import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Connection } from "djwsbridge/connection.js";
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

beforeEach(async () => {
  clock = new FakeClock();
  server = new FakeServer();
  server.accepting = false;
  [asked, told] = [[], []];
  respond = () => Response.json(ANSWER);
  const connection = new Connection({ url: "wss://example.test/ws/", WebSocket: server.WebSocket, clock, random: () => 0.5 });
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
