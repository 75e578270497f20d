import { Delivery } from "./delivery.js";
import { now } from "./platform.js";
import { Pace } from "./pace.js";
import { SESSION } from "./record.js";

/** Bytes of one batch; the bridge takes 8 MiB. */
const MAX_BATCH_BYTES = 4 << 20;
/** setTimeout counts in 32 bits. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * The queue, and the timer that empties it. Bounded in records and in bytes; when it is full the newcomer is dropped:
 * what stands in front of it may have been sent already, and sessions stand before their events.
 */
export class Outbox {
  #options;
  #door;
  #tally;
  #log;
  #pace;
  #delivery;
  #queue = [];
  #bytes = 0;
  #flying = [];
  #flyingBytes = 0;
  #settledBefore = 0;
  #timer = null;
  #sending = false;
  #closed = false;
  #over = false;
  #hurryUntil = 0;
  #waiters = new Set();

  constructor(options, door, tally, log) {
    this.#options = options;
    this.#door = door;
    this.#tally = tally;
    this.#log = log;
    this.#pace = new Pace(options.batchSize, log);
    this.#delivery = new Delivery(door, this.#pace, tally);
  }

  get pending() {
    return this.#queue.length + this.#inFlight;
  }

  /** Everything that waits or may not have arrived, in order. */
  get all() {
    return this.#flying.concat(this.#queue);
  }

  get #inFlight() {
    return this.#sending ? this.#flying.length - (this.#tally.settled - this.#settledBefore) : 0;
  }

  put(record) {
    const { kind, session } = record;
    let reason = null;
    let problem = null;
    if (this.#door.url === null) reason = "disabled";
    else if (this.#closed) reason = "closed";
    else if (session !== null && this.#tally.isRefused(session)) {
      reason = "session_refused";
      problem = this.#tally.whyRefused(session);
    } else if (
      this.pending >= this.#options.maxQueue ||
      this.#bytes + this.#flyingBytes + record.bytes > this.#options.maxQueueBytes
    ) {
      reason = "queue_full";
      if (kind === SESSION) this.#tally.refuse(session);
    }
    if (reason !== null) {
      this.#tally.drop([record], reason, problem);
      return;
    }
    this.#queue.push(record);
    this.#bytes += record.bytes;
    if (this.#timer === null || this.#queue.length === this.#pace.limit) this.#schedule();
  }

  /** Sends now what is queued now. Resolves to whether all of it is settled (delivered, or dropped). */
  async flush(timeoutMs) {
    const goal = this.#tally.settled + this.pending;
    const deadline = now() + timeoutMs;
    this.#hurryUntil = Math.max(this.#hurryUntil, deadline);
    this.#pace.hurry();
    this.#schedule();
    const done = () => this.#tally.settled >= goal || this.pending === 0;
    await new Promise((resolve) => {
      if (done()) return resolve();
      const waiter = () => {
        if (!done() && now() < deadline) return;
        clearTimeout(end);
        this.#waiters.delete(waiter);
        resolve();
      };
      const end = setTimeout(waiter, timeoutMs + 1); // holds a Node process: it is being waited for
      this.#waiters.add(waiter);
    });
    return done();
  }

  /** Sends what is queued within `timeoutMs` and takes nothing more. What is left then is dropped. */
  async close(timeoutMs) {
    this.#closed = true;
    const all = await this.flush(timeoutMs);
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#over = true;
    this.#door.abort();
    const left = this.#queue.splice(0);
    this.#bytes = 0;
    this.#tally.drop(left, "exit");
    return all && left.length === 0;
  }

  /** One timer, set to when the next batch is due. */
  #schedule() {
    if (this.#sending) return; // what sends schedules when it is done
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#queue.length === 0) return;
    let { due } = this.#pace;
    if (now() >= this.#hurryUntil && this.#queue.length < this.#pace.limit) {
      due = Math.max(due, this.#queue[0].queued + this.#options.flushIntervalMs);
    }
    this.#timer = setTimeout(() => this.#work(), Math.min(LONGEST_TIMER_MS, Math.max(0, due - now())));
    // The process need not live for it: what is left when nothing else happens is sent before the exit.
    this.#timer?.unref?.();
  }

  async #work() {
    if (this.#sending) return;
    this.#timer = null;
    this.#take();
    let again = this.#flying;
    try {
      again = await this.#delivery.deliver(this.#flying);
    } catch (error) {
      this.#log.note("internal", `send: ${error?.name}`);
      this.#pace.backOff({ words: String(error?.name) });
    } finally {
      if (this.#over) this.#tally.drop(again.splice(0), "exit");
      this.#queue.unshift(...again);
      this.#bytes += sizeOf(again);
      this.#tally.retries += again.length;
      this.#flying = [];
      this.#flyingBytes = 0;
      this.#sending = false;
      for (const waiter of [...this.#waiters]) waiter();
      this.#schedule();
    }
  }

  /** Moves the next batch from the queue into flight. */
  #take() {
    this.#sending = true;
    this.#settledBefore = this.#tally.settled;
    let size = 0;
    let count = 0;
    for (const record of this.#queue) {
      size += record.bytes + 1;
      if (count === this.#pace.limit || (count && size > MAX_BATCH_BYTES)) break;
      count += 1;
    }
    this.#flying = this.#queue.splice(0, count);
    this.#flyingBytes = sizeOf(this.#flying);
    this.#bytes -= this.#flyingBytes;
  }
}

const sizeOf = (records) => records.reduce((sum, record) => sum + record.bytes, 0);
