import { KEEPALIVE_BYTES } from "./door.js";
import { bytesOf, inNode, now } from "./platform.js";
import { EVENT, SESSION, pathOf } from "./record.js";

/**
 * Watches for the end of the process, or of the page; returns what forgets it again. `close` and `flush` are the
 * client's own.
 */
export function watchTheEnd({ door, outbox, log, close, flush }) {
  if (inNode) {
    // Nothing else is left to do: the rest of the queue gets its time, once. (process.exit() and signals give
    // none: await close() before them.)
    const last = () => close();
    process.once("beforeExit", last);
    return () => process.removeListener("beforeExit", last);
  }
  if (!globalThis.document?.addEventListener) return () => {};
  const forget = [];
  const on = (target, name, handler) => {
    const quiet = () => log.quiet(name, handler);
    target.addEventListener(name, quiet);
    forget.push(() => target.removeEventListener(name, quiet));
  };
  // A hidden page may be ended without another word; what is sent now, and again should it come back, counts once.
  on(document, "visibilitychange", () => {
    door.leaving = document.visibilityState === "hidden";
    if (door.leaving) void flush();
  });
  on(globalThis, "pagehide", () => lastWords(door, outbox.all));
  return () => forget.forEach((one) => one());
}

/**
 * The page goes now: everything at once, without waiting for answers. Nothing leaves the queue, for the page may
 * come back (bfcache); ids make the repeat harmless.
 */
function lastWords(door, all) {
  door.leaving = true;
  if (door.url === null) return;
  const sessions = all.filter((record) => record.kind === SESSION);
  const events = all.filter((record) => record.kind === EVENT);
  // What speaks of a record that is still on its way could overtake it, and would be refused.
  const under = new Set([...sessions, ...events].flatMap((record) => [record.id, record.session]));
  const about = all.filter(({ kind, id }) => kind !== SESSION && kind !== EVENT && !under.has(id));
  let room = KEEPALIVE_BYTES;
  const send = (path, text) => {
    room -= bytesOf(text).length;
    if (room >= 0) door.tell(path, text);
  };
  const alone = (record) => {
    record.firstTry ??= now();
    send(pathOf(record), record.text);
  };
  sessions.forEach(alone);
  const batch = [];
  let size = 2;
  for (const record of events) {
    size += record.bytes + 1;
    if (size > room) break;
    record.firstTry ??= now();
    batch.push(record.text);
  }
  if (batch.length) send("/events", `[${batch.join(",")}]`);
  about.forEach(alone);
}
