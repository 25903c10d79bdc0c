// @ts-check
/** @import { Outbox } from "djwsbridge/outbox.js" */

/**
 * Let nothing of the person stay in the browser when they log out, and ask before something unsent is lost.
 * @param {HTMLFormElement | null} form
 * @param {Outbox} outbox
 * @param {AbortSignal} signal
 */
export function clearOnLogout(form, outbox, signal) {
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { length } = outbox.entries;
    const question = length === 1 ? "One message was not sent yet. Log out and discard it?" : `${length} messages were not sent yet. Log out and discard them?`;
    if (length > 0 && !confirm(question)) return;
    await outbox.clear();
    form.submit();
  }, { signal });
}
