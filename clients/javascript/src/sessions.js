import { now } from "./platform.js";

const MAX_SESSIONS = 10_000;
/** The bridge calls a session idle after half an hour: then a user who is in no conversation begins another one. */
const IDLE_MS = 30 * 60_000;
/** A session that the bridge refused is offered again, for the fault may have been mended: a key, a configuration. */
const ASK_AGAIN_MS = 60_000;

/**
 * Which session is whose: of a conversation, of a user who is in none, of an object such as a connection. `isGone` says
 * whether the bridge refused a session or has it no more; `open(id)` opens one, with this id or, of undefined, a new one.
 */
export class Sessions {
  #isGone;
  #byKey = new Map();
  #byObject = new WeakMap();
  #ended = new Set();

  constructor(isGone) {
    this.#isGone = isGone;
  }

  ofConversation(name, open) {
    return this.#ofKey(`conversation ${name}`, open);
  }

  ofUser(user, open) {
    return this.#ofKey(`user ${user}`, open, IDLE_MS);
  }

  /** As long as the object lives. */
  ofObject(owner, open) {
    const known = this.#kept(this.#byObject.get(owner), open);
    this.#byObject.set(owner, known);
    return known.id;
  }

  /** What comes after its end begins another one, where the session is not given by a conversation. */
  forget(id) {
    for (const [key, known] of this.#byKey) if (known.id === id) this.#byKey.delete(key);
    this.#ended.add(id);
    if (this.#ended.size > MAX_SESSIONS) this.#ended.delete(this.#ended.values().next().value);
  }

  #ofKey(key, open, idle = Infinity) {
    const found = this.#byKey.get(key);
    const known = this.#kept(found && now() - found.used <= idle ? found : undefined, open);
    this.#byKey.delete(key); // the one used longest ago stands first
    this.#byKey.set(key, known);
    if (this.#byKey.size > MAX_SESSIONS) this.#byKey.delete(this.#byKey.keys().next().value);
    return known.id;
  }

  #kept(known, open) {
    const at = now();
    if (known === undefined || this.#ended.delete(known.id)) return { id: open(), opened: at, used: at };
    known.used = at;
    if (at - known.opened > ASK_AGAIN_MS && this.#isGone(known.id)) {
      open(known.id);
      known.opened = at;
    }
    return known;
  }
}
