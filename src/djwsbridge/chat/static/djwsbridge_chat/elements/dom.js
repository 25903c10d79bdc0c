// @ts-check
/** Small hands for building the page. Text enters by textContent only. */

const FRAME_PATIENCE = 100; // ms; a hidden page gets no frame, and its title tells what is unread all the same
const INPUT_METHOD_KEY = 229; // the key code of a key that an input method has consumed (UI Events, 8.3.3)

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * Draw a small picture of lines; its look is the style sheet's.
 * @param {string} viewBox
 * @param {Record<string, string>} paths  By class.
 * @returns {SVGSVGElement}
 */
export function draw(viewBox, paths) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", viewBox);
  picture.setAttribute("aria-hidden", "true");
  for (const [name, d] of Object.entries(paths)) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", name);
    path.setAttribute("d", d);
    picture.append(path);
  }
  return picture;
}

/**
 * Set an element's text, and touch nothing when it is there already.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Find what a template promises to hold.
 * @template {HTMLElement} T
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {T}
 */
export function find(root, selector) {
  const element = root.querySelector(selector);
  if (!element) throw new Error(`The page has no ${selector}.`);
  return /** @type {T} */ (element);
}

/**
 * Say whether an input method has consumed a key: the Enter that takes over a Japanese word means nothing to the page.
 * Safari ends the composition before it reports that key, so `isComposing` is false and only the key code says it.
 * @param {KeyboardEvent} event
 */
export function isInputMethodKey(event) {
  return event.isComposing || event.keyCode === INPUT_METHOD_KEY;
}

/**
 * Make the children of a list match the items, by `data-key`: what is there stays and is updated, so that focus,
 * selection and scroll position survive.
 * @template T
 * @param {Element} list
 * @param {readonly T[]} items
 * @param {{key: (item: T) => string, create: (item: T) => HTMLElement, update?: (element: HTMLElement, item: T) => void}} how
 */
export function reconcile(list, items, { key, create, update = () => {} }) {
  const known = new Map(Array.from(list.children, (child) => [/** @type {HTMLElement} */ (child).dataset.key, child]));
  let next = list.firstElementChild;
  for (const item of items) {
    const name = key(item);
    const element = /** @type {HTMLElement} */ (known.get(name) ?? create(item));
    known.delete(name);
    element.dataset.key = name;
    update(element, item);
    if (element === next) next = next.nextElementSibling;
    else list.insertBefore(element, next);
  }
  for (const element of known.values()) element.remove();
}

/**
 * Put a render off to the next frame, so that it runs once, however much changes before; where no frame comes, as on a
 * hidden page, a moment later.
 * @param {() => void} render
 * @param {Pick<Window, "requestAnimationFrame" | "cancelAnimationFrame" | "setTimeout" | "clearTimeout">} [browser]
 * @returns {{ask: () => void, now: () => void, drop: () => void}}  `now` renders at once what was asked for, `drop` never.
 */
export function perFrame(render, browser = globalThis) {
  /** The frame and the timer of what was asked for, of which one will be first. @type {{frame: number, timer: number} | null} */
  let waiting = null;
  const drop = () => {
    if (!waiting) return;
    browser.cancelAnimationFrame(waiting.frame);
    browser.clearTimeout(waiting.timer);
    waiting = null;
  };
  const now = () => {
    drop();
    render();
  };
  const ask = () => {
    waiting ??= { frame: browser.requestAnimationFrame(now), timer: browser.setTimeout(now, FRAME_PATIENCE) };
  };
  return { ask, now, drop };
}

/** Choose one of the avatar tones, always the same for the same person. @param {string | number | null} id */
export function toneOf(id) {
  let sum = 7;
  for (const letter of String(id)) sum = (sum * 31 + letter.charCodeAt(0)) % 997;
  return `tone-${sum % 8}`;
}
