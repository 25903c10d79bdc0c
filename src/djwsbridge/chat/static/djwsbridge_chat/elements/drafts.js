// @ts-check
/** Unfinished texts, kept by the tab; by nobody where the browser keeps nothing: sandboxed frames, blocked site data. */

/** @param {string} key */
export function readDraft(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} key @param {string} text  Empty to forget it. */
export function keepDraft(key, text) {
  try {
    if (text) sessionStorage.setItem(key, text);
    else sessionStorage.removeItem(key);
  } catch {
    // Then a reload loses it.
  }
}
