import assert from "node:assert/strict";
import { test } from "node:test";
import { TopicLog } from "djwsbridge/topic.js";

test("items in order come out at once, duplicates never", () => {
  const log = new TopicLog({ last: 4 });
  assert.deepEqual(log.accept(5, "five"), ["five"]);
  assert.deepEqual(log.accept(5, "five"), []);
  assert.deepEqual(log.accept(2, "two"), []);
  assert.equal(log.last, 5);
});

test("what lies behind a gap is held until the gap is filled", () => {
  const log = new TopicLog({ last: 4 });
  assert.deepEqual(log.accept(7, "seven"), []);
  assert.deepEqual(log.accept(6, "six"), []);
  assert.equal(log.hasGap, true);
  assert.deepEqual(log.accept(5, "five"), ["five", "six", "seven"]);
  assert.equal(log.hasGap, false);
});

test("recovery and live items merge without doubles", () => {
  const log = new TopicLog({ last: 1 });
  log.accept(4, "live four");
  log.accept(6, "live six");
  assert.deepEqual(log.absorb([[1, "one"], [2, "two"], [3, "three"], [4, "four"]]), ["two", "three", "four"]);
  assert.equal(log.hasGap, true);
  assert.deepEqual(log.absorb([[5, "five"]]), ["five", "live six"]);
  assert.equal(log.last, 6);
});

test("the held items are bounded, and the next in order is always taken", () => {
  const log = new TopicLog();
  for (let seq = 2; seq < 1000; seq += 1) log.accept(seq, seq);
  assert.equal(log.accept(1, 1).length, 501);
});
