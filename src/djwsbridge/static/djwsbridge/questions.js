// @ts-check
/** When to ask the server about which topic: the most urgent one first, and one question at a time. */
/** @import { Clock, Question } from "djwsbridge/types.js" */
import { Backoff } from "djwsbridge/backoff.js";
import { BridgeError, retryAfter } from "djwsbridge/protocol.js";

export class Questions {
  #clock;
  #backoff;
  #ask;
  /** When to ask about a topic. @type {Map<string, number>} */
  #due = new Map();
  /** No question before this time. */
  #notBefore = 0;
  /** The timer of the next question. @type {unknown} */
  #timer = null;
  /** Whether a question waits for its answer. */
  #isAsking = false;
  /** Grows with each lost connection, so that a late answer is recognised. */
  #life = 0;

  /**
   * @param {object} options
   * @param {Clock} options.clock
   * @param {() => number} options.random
   * @param {(topic: string) => Question | null} options.ask  Gives what to ask about a topic; null when nothing is.
   */
  constructor({ clock, random, ask }) {
    this.#clock = clock;
    this.#backoff = new Backoff({ random });
    this.#ask = ask;
  }

  /** Ask about a topic after a delay, or earlier if that is planned. @param {string} topic @param {number} [delayMs] */
  want(topic, delayMs = 0) {
    const due = this.#clock.now() + delayMs;
    this.#due.set(topic, Math.min(due, this.#due.get(topic) ?? due));
    this.#schedule();
  }

  /** Ask nothing about a topic. @param {string} topic */
  drop(topic) {
    this.#due.delete(topic);
  }

  /** Drop a question that is not due yet: what it would bring has come by itself. @param {string} topic */
  dropLater(topic) {
    if ((this.#due.get(topic) ?? 0) > this.#clock.now()) this.#due.delete(topic);
  }

  /** Forget all questions: the connection is gone. */
  lose() {
    this.#life += 1;
    this.#isAsking = false;
    this.#due.clear();
    this.#clock.clearTimeout(this.#timer);
  }

  #schedule() {
    this.#clock.clearTimeout(this.#timer);
    if (this.#isAsking || this.#due.size === 0) return;
    const at = Math.max(this.#notBefore, Math.min(...this.#due.values()));
    this.#timer = this.#clock.setTimeout(() => this.#next(), Math.max(0, at - this.#clock.now()));
  }

  async #next() {
    const [topic, due] = [...this.#due].sort(([, a], [, b]) => a - b)[0] ?? [];
    if (topic === undefined || due === undefined) return;
    if (due > this.#clock.now()) {
      this.#schedule(); // the question that the timer was for has been dropped
      return;
    }
    this.#due.delete(topic);
    const question = this.#ask(topic);
    if (question) await this.#put(topic, question);
    else this.#schedule();
  }

  /** @param {string} topic @param {Question} question */
  async #put(topic, question) {
    const life = this.#life;
    this.#isAsking = true;
    try {
      const report = await question.send();
      if (life === this.#life) this.#answered(question, report);
    } catch (error) {
      if (life === this.#life) this.#refused(topic, question, error);
    }
  }

  /** @param {Question} question @param {Record<string, any>} report */
  #answered(question, report) {
    this.#isAsking = false;
    this.#backoff.reset();
    question.answered(report);
    this.#schedule();
  }

  /** @param {string} topic @param {Question} question @param {unknown} error */
  #refused(topic, question, error) {
    this.#isAsking = false;
    if (error instanceof BridgeError && error.retryable) {
      this.#notBefore = this.#clock.now() + retryAfter(error) + this.#backoff.next();
      this.want(topic);
    } else question.refused(error);
    this.#schedule();
  }
}
