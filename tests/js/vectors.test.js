import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Backoff } from "djwsbridge/backoff.js";
import { CLOSE_CODES } from "djwsbridge/codes.js";
import { ScriptDriver } from "./script_driver.js";

const load = (name) => JSON.parse(readFileSync(new URL(`../wire/client_${name}.json`, import.meta.url), "utf8"));
const CLOSINGS = load("closing").vectors;

/** Each expected thing happened, in order, and nothing else. */
function check(seen, expected, step) {
  assert.deepEqual(Object.keys(seen).sort(), Object.keys(expected).sort(), JSON.stringify({ step, seen }));
  for (const [key, wanted] of Object.entries(expected)) {
    assert.equal(seen[key].length, wanted.length, JSON.stringify({ step, seen }));
    wanted.forEach((want, index) => {
      const got = seen[key][index];
      const part = typeof want === "string" ? got : Object.fromEntries(Object.keys(want).map((name) => [name, got[name]]));
      assert.deepEqual(part, want, JSON.stringify({ step, seen }));
    });
  }
}

for (const { name, random, refused = [], delays_ms: delays } of load("backoff").vectors) {
  test(`back-off: ${name}`, () => {
    const backoff = new Backoff({ random: () => random });
    for (let round = 0; round < 2; round += 1) {
      assert.deepEqual(delays.map((_, attempt) => backoff.next({ isRefused: refused[attempt] })), delays);
      backoff.reset();
    }
  });
}

for (const { close_code: code, renewable, error, reconnect, expect } of CLOSINGS) {
  test(`after close code ${code}${error ? ` and ${error.code}` : ""}${reconnect ? " and reconnect" : ""}`, async () => {
    const { fresh = false, ...state } = expect;
    const driver = await new ScriptDriver({ renewable }).goOnline();
    await driver.give({ at: 1000 });
    if (error) await driver.give({ push: { push: "error", data: error } });
    if (reconnect) await driver.give({ push: { push: "reconnect", data: reconnect } });
    check(await driver.give({ socket: "close", code }), { states: [state] }, expect);
    if (state.state === "waiting") {
      const opening = { states: [{ state: "connecting" }], sockets: [fresh ? "open fresh" : "open"] };
      check(await driver.give({ at: 1000 + state.delay_ms }), opening, expect);
    } else check(await driver.give({ at: 600_000 }), {}, expect);
  });
}

test("every close code has a vector", () => {
  const tested = new Set(CLOSINGS.map(({ close_code: code }) => code));
  for (const code of Object.keys(CLOSE_CODES)) assert.ok(tested.has(Number(code)), code);
});

for (const file of ["life", "topics", "outbox"]) {
  for (const script of load(file).scripts) {
    test(`${file}: ${script.name}`, async () => {
      const driver = new ScriptDriver(script);
      if (script.online) await driver.goOnline(script.online);
      for (const step of script.steps) check(await driver.give(step), step.expect, step);
    });
  }
}
