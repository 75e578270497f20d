import { now } from "./platform.js";

const LOG_EVERY_MS = 60_000;

/** What went wrong: the last of it, and a line a minute and kind to the caller's logger. Never throws. */
export class Log {
  #logger;
  #said = new Map();
  lastError = null;

  constructor(logger) {
    this.#logger = logger;
  }

  /** Runs `action`; what it throws is noted. */
  quiet(where, action) {
    try {
      return action();
    } catch (error) {
      this.note("internal", `${where}: ${error?.name}`);
      return undefined;
    }
  }

  /** Logs the first of a kind, then once a minute how many there were. `cause`: what `lastError` says instead. */
  note(kind, words, cause = `${kind}: ${words}`) {
    try {
      this.lastError = cause;
      const [at, unsaid] = this.#said.get(kind) ?? [-Infinity, 0];
      if (now() - at < LOG_EVERY_MS) {
        this.#said.set(kind, [at, unsaid + 1]);
        return;
      }
      this.#said.set(kind, [now(), 0]);
      const more = unsaid ? ` (and ${unsaid} more since the last such line)` : "";
      this.#logger?.warn(`otel-bridge: ${kind}: ${words}${more}`);
    } catch {
      // a broken logger is not the caller's problem either
    }
  }

  error(words) {
    this.lastError = words;
    this.quiet("logger", () => this.#logger?.error(`otel-bridge: ${words}`));
  }
}
