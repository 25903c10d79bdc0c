import assert from "node:assert/strict";
import { test } from "node:test";
import { formatDay, formatFull, formatTime } from "djwsbridge/chat/elements/time.js";

const NOW = new Date(2026, 2, 10, 0, 5);
const day = (...parts) => formatDay(new Date(...parts).toISOString(), NOW);

test("days are named by the reader's calendar, not by hours", () => {
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  assert.equal(day(2026, 2, 10, 0, 1).toLowerCase(), relative.format(0, "day").toLowerCase());
  assert.equal(day(2026, 2, 9, 23, 59).toLowerCase(), relative.format(-1, "day").toLowerCase());
  assert.match(day(2026, 2, 8, 12), /8/);
  assert.doesNotMatch(day(2026, 2, 8, 12), /2026/);
  assert.match(day(2025, 11, 31, 12), /2025/);
});

test("a time has hours and minutes, its title everything", () => {
  const iso = new Date(2026, 2, 10, 14, 7, 9).toISOString();
  assert.match(formatTime(iso), /07/);
  assert.match(formatFull(iso), /2026.*07.09/);
});
