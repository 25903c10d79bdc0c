import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const LIBRARY = new URL("../../src/djwsbridge/static/djwsbridge/", import.meta.url);
const CHAT = new URL("../../src/djwsbridge/chat/static/djwsbridge_chat/", import.meta.url);

function modules(folder) {
  return readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".js"))
    .map((name) => ({ name, text: readFileSync(new URL(name, folder), "utf8") }));
}

test("every module is type-checked, imports by bare name, and stays readable", () => {
  for (const { name, text } of [...modules(LIBRARY), ...modules(CHAT)]) {
    assert.match(text, /^\/\/ @ts-check\n/, name);
    assert.ok(text.split("\n").length < 300, `${name} is too long`);
    for (const [, from] of text.matchAll(/^(?:import|export)[^;]*? from "([^"]+)"/gms)) assert.match(from, /^djwsbridge\//, name);
  }
});

test("client and state know no page; elements know no other element", () => {
  for (const { name, text } of [...modules(LIBRARY), ...modules(CHAT).filter((each) => each.name.startsWith("state/"))]) {
    assert.doesNotMatch(text, /\b(document|window)\b\s*[.)]/, name);
    assert.doesNotMatch(text, /^import .*\/elements\//m, name);
  }
  for (const { name, text } of modules(CHAT).filter((each) => each.name.startsWith("elements/"))) {
    assert.doesNotMatch(text, /^import .*\/elements\/chat_/m, name);
  }
  for (const { name, text } of modules(LIBRARY)) assert.doesNotMatch(text, /djwsbridge\/chat\//, name);
});

test("no text becomes HTML", () => {
  for (const { name, text } of modules(CHAT)) {
    assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment/, name);
  }
});

test("the page preloads every module that it needs, and no other", () => {
  const needed = new Set();
  const follow = (name) => {
    const file = name.startsWith("djwsbridge/chat/") ? new URL(name.slice(16), CHAT) : new URL(name.slice(11), LIBRARY);
    for (const [, from] of readFileSync(file, "utf8").matchAll(/^import [^;]*? from "([^"]+)"/gms)) {
      if (!needed.has(from)) follow((needed.add(from), from));
    }
  };
  follow("djwsbridge/chat/main.js");
  const template = new URL("../../src/djwsbridge/chat/templates/djwsbridge_chat/preload.html", import.meta.url);
  const preloaded = [...readFileSync(template, "utf8").matchAll(/\{% static '([^']+)' %\}/g)].map(([, name]) => name);
  assert.deepEqual(preloaded.map((name) => name.replace("djwsbridge_chat/", "djwsbridge/chat/")).sort(), [...needed].sort());
});

test("the form for a new room takes titles as long as the server does", () => {
  const read = (path) => readFileSync(new URL(`../../src/djwsbridge/chat/${path}`, import.meta.url), "utf8");
  const [, limit] = /^TITLE_LENGTH = (\d+)/m.exec(read("names.py"));
  const [, taken] = /<input id="title" [^>]*maxlength="(\d+)"/.exec(read("templates/djwsbridge_chat/index.html"));
  assert.equal(Number(taken), 2 * limit, "browsers count UTF-16 units, of which an emoji is two");
});
