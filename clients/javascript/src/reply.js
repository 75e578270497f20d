/** An answer of the bridge, read: `{ status, document, retryAfterMs }`; status 0 where there was none, with `words`. */

export const ok = (reply) => reply.status >= 200 && reply.status < 300;

export const strange = (reply) => ({ status: 0, words: `${reply.status} that is not the bridge's` });

/** Whether the same record may be taken later: no answer, a redirect, a limit, a failing server. */
export function transient(status) {
  if (status >= 200 && status < 300) return false;
  return status < 400 || status >= 500 || status === 408 || status === 425 || status === 429;
}

/** Why it was refused: the bridge's problem document, else the status alone. */
export function problemOf(reply) {
  return { ...reply.document, status: reply.status };
}

const OURS = "urn:otel-bridge:";

/** `HTTP 404 GPT no encontrado`: what a person needs to find the fault, the same words for the same one. */
export function causeOf(problem) {
  if (!problem?.status) return null;
  const known = typeof problem.type === "string" && problem.type.startsWith(OURS) && typeof problem.title === "string";
  return `HTTP ${problem.status}${known ? ` ${problem.title.slice(0, 100)}` : ""}`;
}

export function parse(text) {
  try {
    const found = JSON.parse(text);
    return found && typeof found === "object" && !Array.isArray(found) ? found : null;
  } catch {
    return null;
  }
}

/** `Retry-After`: seconds or a date; 0 where it is neither. */
export function milliseconds(retryAfter) {
  if (!retryAfter) return 0;
  if (/^\s*\d+\s*$/.test(retryAfter)) return Number(retryAfter) * 1000;
  const date = Date.parse(retryAfter);
  return Number.isNaN(date) ? 0 : Math.max(0, date - Date.now());
}
