import assert from "node:assert/strict";
import { test } from "node:test";
import { Tabs } from "djwsbridge/tabs.js";
import { FakeBrowser } from "./fake_browser.js";

test("one tab at a time has the turn", async () => {
  const browser = new FakeBrowser();
  const seen = [];
  let end;
  const first = browser.tab().alone(() => (seen.push("first"), new Promise((resolve) => (end = resolve))));
  const second = browser.tab().alone(async () => seen.push("second"));
  assert.deepEqual(seen, ["first"]);
  end();
  await Promise.all([first, second]);
  assert.deepEqual(seen, ["first", "second"]);
});

test("each tab hears what the others tell, until it is closed", async () => {
  const browser = new FakeBrowser();
  const [first, second] = [browser.tab(), browser.tab()];
  const heard = [];
  first.addEventListener("message", ({ detail }) => heard.push(["first", detail]));
  second.addEventListener("message", ({ detail }) => heard.push(["second", detail]));
  first.tell({ type: "changed" });
  await null;
  first.close();
  first.tell({ type: "changed" });
  second.tell({ type: "changed" });
  await null;
  assert.deepEqual(heard, [["second", { type: "changed" }]]);
});

test("a tab that is denied the lock goes ahead without it", async () => {
  let runs = 0;
  await new FakeBrowser({ locks: "denied" }).tab().alone(async () => void (runs += 1));
  assert.equal(runs, 1);
});

test("what fails in its turn is not done a second time", async () => {
  for (const locks of ["granted", "none", "denied"]) {
    let runs = 0;
    const failing = async () => {
      runs += 1;
      throw new Error("broken");
    };
    await assert.rejects(new FakeBrowser({ locks }).tab().alone(failing), /broken/);
    assert.equal(runs, 1, locks);
  }
});

test("a tab that is denied the channel hears of no other", () => {
  const Channel = class {
    constructor() {
      throw new DOMException("The operation is insecure.", "SecurityError");
    }
  };
  const tabs = new Tabs({ name: "test", locks: null, Channel });
  tabs.tell({ type: "changed" });
  tabs.close();
});
