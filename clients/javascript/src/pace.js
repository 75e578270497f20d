import { now } from "./platform.js";

const BACKOFF_MS = [500, 30_000];
const MAX_RETRY_AFTER_MS = 3600 * 1000;

/** When the bridge may be asked again, and for how many records at once. */
export class Pace {
  #batchSize;
  #log;
  #failures = 0;
  #backoffUntil = 0;
  #serverWaitUntil = 0;

  constructor(batchSize, log) {
    this.#batchSize = this.limit = Math.max(1, batchSize);
    this.#log = log;
  }

  /** Not before this moment. */
  get due() {
    return Math.max(this.#backoffUntil, this.#serverWaitUntil);
  }

  /** Somebody waits: our own pause ends; the one that the bridge asked for stays. */
  hurry() {
    this.#backoffUntil = 0;
  }

  /** Something was taken. */
  good() {
    this.#failures = 0;
  }

  widen() {
    this.limit = Math.min(this.#batchSize, this.limit * 2);
  }

  /** A batch larger than the bridge's limit itself is never let in. */
  narrow(size) {
    this.limit = Math.max(1, Math.floor(size / 2));
  }

  /** Nothing is sent for a while: as long as the bridge asks for, else exponentially longer each time; with jitter. */
  backOff(reply, cause) {
    const [first, longest] = BACKOFF_MS;
    if (reply.retryAfterMs) {
      const asked = Math.min(reply.retryAfterMs, MAX_RETRY_AFTER_MS);
      this.#serverWaitUntil = now() + asked * (1 + Math.random() / 10);
    } else {
      const wait = Math.min(longest, first * 2 ** Math.min(this.#failures, 16));
      this.#failures += 1;
      this.#backoffUntil = now() + wait * (0.5 + Math.random() / 2);
    }
    this.#log.note("retry", cause ?? reply.words ?? "no answer");
  }
}
