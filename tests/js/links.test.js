import assert from "node:assert/strict";
import { test } from "node:test";
import { splitLinks } from "djwsbridge/chat/state/links.js";

const hrefs = (text) => splitLinks(text).filter(({ href }) => href).map(({ href }) => href);

/** In each text the part between ⟦ and ⟧ is a link, and nothing else is. */
const MARKED = {
  "brackets and apostrophes belong to an address": [
    "⟦https://en.wikipedia.org/wiki/Mars_(planet)⟧",
    "(see ⟦https://en.wikipedia.org/wiki/Mars_(planet)⟧)",
    "⟦https://en.wikipedia.org/wiki/Mars_(planet)⟧.",
    "⟦https://example.com/a[1]⟧ [⟦https://example.com/a[1]⟧] {⟦https://example.com/{a}⟧}",
    "⟦https://example.com/it's⟧ and ⟦https://example.com/it’s⟧",
    "⟦https://example.com/Products('ABC')⟧",
    "⟦http://[::1]:8000/a⟧",
    "⟦https://en.wikipedia.org/wiki/Cauchy–Schwarz_inequality⟧",
    "⟦https://ja.wikipedia.org/wiki/ジョン・レノン⟧",
  ],
  "the punctuation of the sentence does not": [
    "⟦https://a.example/x?y=1⟧, (⟦http://b.example⟧).",
    "(⟦https://a.example/x⟧)und [x](⟦https://a.example/b⟧)text",
    "“⟦https://a.example/x⟧” «⟦https://a.example/x⟧» ‘⟦https://a.example/x⟧’",
    "['⟦https://a.example/x⟧','⟦https://b.example/it's⟧']",
    "⟦https://a.example/x⟧! ⟦https://a.example/x⟧?) ⟦https://a.example/x⟧… ⟦https://a.example/x⟧(",
    "⟦https://a.example/x⟧، ⟦https://a.example/x⟧؟ ⟦https://a.example/x⟧।",
  ],
  "full-width and CJK punctuation ends an address": [
    "请看⟦https://example.com/a⟧。谢谢",
    "⟦https://example.com/a⟧）をご覧",
    "（⟦https://example.com/a⟧）をご覧、「⟦https://example.com/a⟧」と『⟦https://example.com/a⟧』",
    "⟦https://example.com/a⟧，⟦https://example.com/b⟧；⟦https://example.com/c⟧！ok ⟦https://example.com/d⟧：a",
    "⟦https://example.com/a⟧……谢谢 ⟦https://example.com/a⟧——谢谢 ⟦https://example.com/a⟧｡ﾖ ⟦https://example.com/a⟧　全角",
  ],
  "an address without a scheme is one when it begins with www": [
    "see ⟦www.example.com⟧, ⟦www.example.com/a_(b)⟧; ⟦WWW.Example.com:8000/x⟧.",
    "请看⟦www.example.com⟧。谢谢 (⟦www.example.co.uk⟧)",
    "www. www.x www.. awww.example.com a.www.example.com x@www www.example,com",
    "⟦www.a.example⟧,⟦www.b.example⟧",
  ],
  "mail addresses": [
    "write to ⟦ann@example.com⟧, ⟦ann.lee+chat@mail.example.co.uk⟧. <⟦ann@example.com⟧> '⟦ann@example.com⟧'",
    "联系⟦ann@example.com⟧。谢谢 联系⟦ann@example.com⟧谢谢 mailto:⟦ann@example.com⟧",
    "⟦müller@bücher.example⟧ ⟦иван@пример.рф⟧ ⟦o'neill@example.com⟧ ⟦ann@xn--e1afmkfd.xn--p1ai⟧",
    "@ann ann@ ann@host a@b.c .@example.com ann.@example.com a..b@example.com @ann@example.com ftp://ann@example.com",
    "ann@example.com2 ann@-example.com ann@example.com@example.org",
    "⟦https://ann@example.com/⟧",
  ],
  "nothing else": [
    "javascript:alert(1) data:text/html,x ftp://a https:// http://( [x](javascript:1) vbscript:x file:///etc/passwd //a.example",
    "JAVASCRIPT:⟦https://a.example/⟧",
  ],
};

for (const [name, texts] of Object.entries(MARKED)) {
  test(`links: ${name}`, () => {
    for (const marked of texts) {
      const text = marked.replace(/[⟦⟧]/gu, "");
      assert.equal(splitLinks(text).map((part) => (part.href ? `⟦${part.text}⟧` : part.text)).join(""), marked);
    }
  });
}

test("links: what they lead to", () => {
  assert.deepEqual(hrefs("https://example.com/it's http://B.example www.example.com/a ann+x@example.com a%b@example.com"), [
    "https://example.com/it's", "http://b.example/", "https://www.example.com/a", "mailto:ann%2Bx@example.com", "mailto:a%25b@example.com",
  ]);
});

const PIECES = [
  "http://", "https://a.", "https://(", "https://)", "https://).).)", "(", "www.", "www.a.", "@", "a@", "a@b.", "a@b.cc ", "a.",
  "'https://a'", "漢https://", "a".repeat(64) + "@", "x@" + "a-".repeat(120), "https:////漢字",
];
const LINKS = ["https://a ", "https://[ ", "www.a.b ", "https://a.example/(b) "]; // a body has 8,000 characters at most
const DISTINCT = String.fromCodePoint(...Array.from({ length: 8000 }, (_, index) => 0x4e00 + index)); // slow as a host name

test("links: every text comes back whole, and leads to the web or to a mail program only", () => {
  let seed = 1;
  const random = (below) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const pieces = [...PIECES, "javascript:", "data:", " ", ".", "。", ")", "’", "example.com", "/x", "\ud800", "👩", "ä"];
  for (let round = 0; round < 3000; round += 1) {
    const text = Array.from({ length: random(12) }, () => pieces[random(pieces.length)]).join("");
    const parts = splitLinks(text);
    assert.equal(parts.map((part) => part.text).join(""), text);
    for (const { href } of parts) assert.match(href ?? "https:", /^(?:https?:|mailto:)/);
  }
});

test("links: 32 KiB take 20 ms at most, whatever is in them", () => {
  const measure = (text) => {
    const before = process.cpuUsage();
    splitLinks(text);
    return process.cpuUsage(before).user / 1000;
  };
  const quickest = (text) => Math.min(...Array.from({ length: 10 }, () => measure(text)));
  const fill = (size) => (piece) => piece.repeat(size / piece.length);
  const texts = [...PIECES.map(fill(32_768)), ...LINKS.map(fill(8000)), `https://${DISTINCT}`, `https:////${DISTINCT}`, `www.${DISTINCT}.a`];
  for (const text of texts) {
    const duration = quickest(text);
    assert.ok(duration <= 20, `${text.slice(0, 20)}: ${duration} ms`);
  }
});
