// @ts-check
/**
 * What this client has of every topic, and how it gets what it missed. Pushes of a durable topic leave in seq order,
 * each once; one that comes behind a gap is held until the gap is filled, by the missing push if that was only late,
 * else by `topic.recover`. Pushes without a seq, and those of topics without a log, pass as they come.
 *
 * Tells: `push` (Push), `begin` and `reset` (Beginning), `receipts` (TopicReceipts).
 */
/** @import { Push, Question, RecoveryOptions, TopicReport } from "djwsbridge/types.js" */
import { BridgeError, decodePush } from "djwsbridge/protocol.js";
import { Questions } from "djwsbridge/questions.js";
import { TopicLog } from "djwsbridge/topic.js";

const GAP_PATIENCE = 200; // ms; two nodes may deliver neighbours in the wrong order
const OMITTED_EVERY = 5_000; // ms; what is missing is more urgent
const MAX_EARLY = 1000; // pushes before the answer to `connect`; what is beyond comes with the recovery
const MAX_CURSORS = 200; // the server takes no more with `connect`; the other topics are asked for one by one

export class Recovery {
  #request;
  #tell;
  #advanced;
  #replaced;
  #clock;
  /** By topic; the one that moved last comes last. @type {Map<string, TopicLog<Push>>} */
  #logs;
  /** Topics that have no log on this server. @type {Set<string>} */
  #passing = new Set();
  /** Topics that the application subscribed to, so that each new connection must. @type {Set<string>} */
  #subscribed = new Set();
  /** Those of them that this connection does not listen to yet. @type {Set<string>} */
  #unheard = new Set();
  /** Durable pushes that came before the answer to `connect`; null when it is here. @type {Push[] | null} */
  #early = null;
  /** Topics whose cursor went with the last `connect`. @type {Set<string>} */
  #sent = new Set();
  /** The newest seq by topic that the last heartbeat told. @type {Map<string, number>} */
  #tips = new Map();
  /** Topics of which the server has more to say. @type {Set<string>} */
  #omitted = new Set();
  /** When the last of them is asked about. */
  #omittedAt = 0;
  /** When to ask about which topic. */
  #questions;

  /** @param {RecoveryOptions} options */
  constructor({ request, tell, advanced, replaced, clock, random, cursors }) {
    this.#request = request;
    this.#tell = tell;
    this.#advanced = advanced;
    this.#replaced = replaced;
    this.#clock = clock;
    this.#questions = new Questions({ clock, random, ask: (topic) => this.#questionOf(topic) });
    this.#logs = new Map(Object.entries(cursors).map(([topic, [epoch, last]]) => [topic, new TopicLog({ epoch, last })]));
  }

  /** What this client has of each topic that has a log, the one that moved last coming last. @returns {Record<string, [string, number]>} */
  get cursors() {
    const known = [...this.#logs].filter(([, log]) => log.epoch !== "");
    return Object.fromEntries(known.map(([topic, log]) => [topic, [log.epoch, log.last]]));
  }

  /** Give the cursors that go with `connect`, and hold what is pushed until its answer is here. */
  greet() {
    const cursors = Object.entries(this.cursors).slice(-MAX_CURSORS);
    this.#early = [];
    this.#sent = new Set(cursors.map(([topic]) => topic));
    return Object.fromEntries(cursors);
  }

  /** Take the answer to `connect`: what was missed of each topic, then what came meanwhile. @param {Record<string, TopicReport>} reports */
  welcome(reports) {
    const early = (this.#early ?? []).sort((a, b) => Number(a.seq) - Number(b.seq));
    this.#early = null;
    this.#unheard = new Set([...this.#subscribed].filter((topic) => !(topic in reports)));
    for (const topic of this.#unheard) this.#questions.want(topic);
    for (const [topic, report] of Object.entries(reports)) this.#apply(topic, report, this.#sent.has(topic));
    for (const push of early) this.accept(push);
  }

  /** Forget what only the connection made true. */
  lose() {
    this.#questions.lose();
    this.#early = null;
    this.#unheard.clear();
    this.#omitted.clear();
    this.#omittedAt = 0;
    this.#tips.clear();
    this.#passing.clear();
    for (const log of this.#logs.values()) log.forget();
  }

  /** Take a push that has just come. @param {Push} push */
  accept(push) {
    const { topic, seq } = push;
    if (push.type === "tips" && topic === null) this.#heal(push.data);
    else if (topic === null || seq === null || this.#passing.has(topic)) this.#tell("push", push);
    else if (this.#early) this.#early.length < MAX_EARLY && this.#early.push(push);
    else this.#release(topic, this.#logOf(topic, seq, push.epoch ?? "").accept(seq, push));
  }

  /**
   * Give the log of a topic; one that the server has added begins with its first push.
   * @param {string} topic
   * @param {number} seq
   * @param {string} epoch  What the push says of it; the very first push of a topic does.
   */
  #logOf(topic, seq, epoch) {
    const log = this.#logs.get(topic) ?? this.#setLog(topic, epoch, seq - 1);
    if (log.epoch === "" && log.last === seq - 1) log.epoch = epoch;
    return log;
  }

  /** Compare what is here with what the server says is the newest; ask when it differs twice running. @param {Record<string, number>} tips */
  hearTips(tips) {
    for (const [topic, tip] of Object.entries(tips)) {
      const last = this.#logs.get(topic)?.last;
      const earlier = this.#tips.get(topic);
      this.#tips.set(topic, tip);
      if (last === undefined || earlier === undefined) continue;
      if (last < Math.min(earlier, tip) || last > Math.max(earlier, tip)) this.#questions.want(topic);
    }
  }

  /** Ask what the server has to say of a topic, before others. @param {string} topic */
  refresh(topic) { this.#questions.want(topic); }

  /** Listen to a topic, on this connection and on those after it. @param {string} topic */
  async subscribe(topic) {
    this.#subscribed.add(topic);
    this.#listens(topic, /** @type {TopicReport} */ (await this.#request("subscribe", { topic })));
  }

  /** Listen no more. @param {string} topic */
  async unsubscribe(topic) {
    this.#forget(topic);
    await this.#request("unsubscribe", { topic });
  }

  /** Ask at once for what the server has withheld, because this client read too slowly. @param {Record<string, number>} tips */
  #heal(tips) {
    if (this.#early) return; // the answer to `connect` brings it
    for (const [topic, tip] of Object.entries(tips)) {
      if ((this.#logs.get(topic)?.last ?? Infinity) < tip) this.#questions.want(topic);
    }
  }

  /** Take the answer to `subscribe`, which need not say anything of the log. @param {string} topic @param {TopicReport} report */
  #listens(topic, report) {
    if (!this.#subscribed.has(topic)) return; // no more
    this.#unheard.delete(topic);
    if (report.epoch !== undefined) this.#apply(topic, report, false);
    else if (this.#logs.has(topic)) this.#questions.want(topic);
  }

  /** @param {string} topic @param {TopicReport} report @param {boolean} wasSent  Whether it answers to a cursor. */
  #apply(topic, report, wasSent) {
    if (report.receipts) this.#tell("receipts", { topic, receipts: report.receipts });
    const { epoch, seq, recovered } = report;
    if (epoch === undefined || seq === undefined) {
      this.#pass(topic);
      this.#tell("begin", { topic, epoch: null, seq: null, reason: null });
      return;
    }
    const log = this.#logs.get(topic);
    this.#passing.delete(topic);
    if (!log) this.#begin(topic, epoch, seq);
    else if (recovered) this.#absorb(topic, log, report);
    else if (log.epoch === "" || (log.epoch === epoch && !wasSent && log.last <= seq)) {
      log.epoch = epoch; // no cursor was sent, so none was answered to
      if (log.last < seq) this.#questions.want(topic);
    } else this.#reset(topic, log, report);
    this.#noteOmitted(topic, report.omitted ?? false);
  }

  /** Ask for what did not fit into an answer, in measure. @param {string} topic @param {boolean} isOmitted */
  #noteOmitted(topic, isOmitted) {
    this.#omitted.delete(topic);
    if (!isOmitted) return;
    this.#omitted.add(topic);
    this.#omittedAt = Math.max(this.#omittedAt, this.#clock.now()) + OMITTED_EVERY;
    this.#questions.want(topic, this.#omittedAt - this.#clock.now());
  }

  /** @param {string} topic @param {string} epoch @param {number} seq */
  #begin(topic, epoch, seq) {
    this.#setLog(topic, epoch, seq);
    this.#tell("begin", { topic, epoch, seq, reason: null });
  }

  /** @param {string} topic @param {TopicLog<Push>} log @param {TopicReport} report */
  #absorb(topic, log, { events = [], more = false }) {
    const missed = events.map(decodePush);
    this.#release(topic, log.absorb(missed.map((push) => [Number(push.seq), push])));
    if (more) this.#questions.want(topic);
  }

  /** @param {string} topic @param {TopicLog<Push>} log @param {TopicReport} report */
  #reset(topic, log, { epoch = "", seq = 0, reason = null }) {
    if (epoch !== log.epoch) this.#replaced(topic);
    const held = log.restart(epoch, seq);
    this.#tell("reset", { topic, epoch, seq, reason });
    this.#release(topic, held);
  }

  /** @param {string} topic @param {Push[]} pushes */
  #release(topic, pushes) {
    const log = this.#logs.get(topic);
    if (log && pushes.length > 0) {
      this.#logs.delete(topic);
      this.#logs.set(topic, log);
    }
    for (const push of pushes) this.#tell("push", push);
    if (log && pushes.length > 0) this.#advanced(topic, log.last);
    if (log?.epoch === "" && pushes.length > 0) this.#questions.want(topic); // which life of the log they are of
    if (log?.hasGap) this.#questions.want(topic, GAP_PATIENCE);
    else if (!this.#omitted.has(topic)) this.#questions.dropLater(topic);
  }

  /** Let the pushes of a topic through as they come. @param {string} topic */
  #pass(topic) {
    this.#passing.add(topic);
    this.#questions.drop(topic);
    for (const push of this.#logs.get(topic)?.drain() ?? []) this.#tell("push", push);
    this.#logs.delete(topic);
  }

  /** @param {string} topic */
  #forget(topic) {
    this.#subscribed.delete(topic);
    this.#unheard.delete(topic);
    this.#logs.delete(topic);
    this.#questions.drop(topic);
    this.#omitted.delete(topic);
    this.#tips.delete(topic);
  }

  /**
   * Give what to ask about a topic; null when it is forgotten.
   * @param {string} topic
   * @returns {Question | null}
   */
  #questionOf(topic) {
    const isUnheard = this.#unheard.has(topic);
    const log = this.#logs.get(topic);
    if (!log && !isUnheard) return null;
    const epoch = log?.epoch;
    const send = isUnheard
      ? () => this.#request("subscribe", { topic })
      : () => this.#request("topic.recover", { topic, epoch, seq: log?.last });
    return {
      send,
      answered: (report) => this.#answered(topic, /** @type {TopicReport} */ (report), isUnheard ? undefined : epoch),
      refused: (error) => this.#refused(topic, error),
    };
  }

  /**
   * @param {string} topic
   * @param {TopicReport} report
   * @param {string | undefined} epoch  What was asked with; undefined for the answer to `subscribe`.
   */
  #answered(topic, report, epoch) {
    if (epoch === undefined) this.#listens(topic, report);
    else if (this.#logs.has(topic)) this.#apply(topic, report, epoch !== "");
  }

  /** @param {string} topic @param {unknown} error */
  #refused(topic, error) {
    if (error instanceof BridgeError && error.code === "not_found") this.#forget(topic);
    else this.#pass(topic);
  }

  /** @param {string} topic @param {string} epoch @param {number} last */
  #setLog(topic, epoch, last) {
    /** @type {TopicLog<Push>} */
    const log = new TopicLog({ epoch, last });
    this.#logs.set(topic, log);
    return log;
  }
}
