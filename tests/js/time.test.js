import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAgo, formatDay, formatFull, formatTime } from "djwsbridge/chat/elements/time.js";

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

test("how long ago somebody was here is said as roughly as people do", () => {
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  const ago = (ms) => formatAgo(new Date(NOW - ms).toISOString(), NOW);
  assert.deepEqual([-5000, 59_000].map(ago), ["just now", "just now"]);
  assert.equal(ago(5 * 60_000 + 59_000), relative.format(-5, "minute"));
  assert.equal(ago(3 * 3_600_000), relative.format(-3, "hour"));
  assert.equal(ago(50 * 3_600_000), relative.format(-2, "day"));
  assert.match(ago(40 * 86_400_000), /2026/);
});
