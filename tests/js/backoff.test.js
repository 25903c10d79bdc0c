import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "djwsbridge/backoff.js";

test("the ceiling doubles from half a second to eight seconds", () => {
  const backoff = new Backoff({ random: () => 1 });
  const delays = Array.from({ length: 8 }, () => backoff.next());
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 8000, 8000, 8000]);
});

test("the delay is a random part of the ceiling, down to nothing", () => {
  const parts = [0, 0.25, 0.999];
  const backoff = new Backoff({ random: () => parts.shift() });
  assert.deepEqual([backoff.next(), backoff.next(), backoff.next()], [0, 250, 1998]);
});

test("a reset starts over", () => {
  const backoff = new Backoff({ random: () => 1 });
  backoff.next();
  backoff.next();
  backoff.reset();
  assert.equal(backoff.next(), 500);
});

test("after very many attempts the delay is still the cap", () => {
  const backoff = new Backoff({ random: () => 1 });
  for (let attempt = 0; attempt < 2000; attempt += 1) backoff.next();
  assert.equal(backoff.next(), 8_000);
  assert.equal(backoff.next({ isRefused: true }), 20_000);
});
