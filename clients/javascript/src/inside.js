/** What this package's modules ask of a client beyond what callers use. A stand-in for a client may lack all of it. */

const INSIDE = Symbol.for("otel-bridge-client"); // the same for a client of the package's other form

/** Runs `action`; what it throws is the client's to note, and nobody else's. */
export function quiet(client, where, action) {
  try {
    return action();
  } catch (error) {
    client?.[INSIDE]?.note(where, error);
    return undefined;
  }
}

/** Counts and tells an event that is not sent. */
export const drop = (client, eventId, reason) => client?.[INSIDE]?.drop(eventId, reason);

export const note = (client, where, words) => client?.[INSIDE]?.note(where, words);
