import { now } from "./platform.js";
import { END, EVENT, RATING, SESSION, pathOf } from "./record.js";
import { causeOf, ok, problemOf, strange, transient } from "./reply.js";

/** The bridge recognises a repeated event for 24 hours: what was first tried longer ago is not sent again. */
const REPEAT_HORIZON_MS = 20 * 3600 * 1000;
const SESSION_NOT_FOUND = "urn:otel-bridge:sesion-no-encontrada";

/**
 * Sends a batch of records: sessions one by one, then events together, then what speaks of them (ratings, ends). What
 * must be tried again comes back, in order, and what would have been sent after it.
 */
export class Delivery {
  #door;
  #pace;
  #tally;

  constructor(door, pace, tally) {
    this.#door = door;
    this.#pace = pace;
    this.#tally = tally;
  }

  async deliver(records) {
    const fresh = records.filter((record) => {
      if (record.firstTry === null || now() - record.firstTry <= REPEAT_HORIZON_MS) return true;
      this.#tally.settleDrop(record, "expired");
      return false;
    });
    const of = (...kinds) => fresh.filter((record) => kinds.includes(record.kind));
    const sessions = await this.#sendEach(of(SESSION), (record) => this.#sendSession(record));
    // The bridge is away or busy: one request at a time finds out when it is back.
    if (sessions.length) return sessions.concat(of(EVENT), of(RATING, END));
    const ready = of(EVENT).filter((record) => {
      if (!this.#tally.isRefused(record.session)) return true;
      this.#tally.settleDrop(record, "session_refused", this.#tally.whyRefused(record.session));
      return false;
    });
    const events = await this.#sendEvents(ready);
    const about = of(RATING, END);
    return events.length ? events.concat(about) : this.#sendEach(about, (record) => this.#sendAbout(record));
  }

  /** What is left from the first on that was not settled. */
  async #sendEach(records, send) {
    for (let i = 0; i < records.length; i++) {
      records[i].firstTry ??= now();
      if (!(await send(records[i]))) return records.slice(i);
    }
    return [];
  }

  /** Whether it is settled. */
  async #sendSession(record) {
    let reply = await this.#door.post(pathOf(record), record.text);
    if (ok(reply) && reply.document?.id !== record.id) reply = strange(reply);
    if (transient(reply.status)) return this.#wait(reply);
    // Another process was first to open a conversation's session: it is there, and that is all that counts.
    if (reply.status >= 400 && !(reply.status === 409 && record.shared)) {
      this.#tally.refuse(record.session, problemOf(reply));
      this.#tally.settleDrop(record, "refused", problemOf(reply));
    } else {
      this.#settleSent(1);
    }
    return true;
  }

  /** A rating, or the end of a session. Whether it is settled. */
  async #sendAbout(record) {
    if (record.kind === END && this.#tally.isRefused(record.session)) {
      this.#tally.settleDrop(record, "session_refused", this.#tally.whyRefused(record.session));
      return true;
    }
    let reply = await this.#door.post(pathOf(record), record.text);
    if (ok(reply) && reply.status !== 204 && reply.document === null) reply = strange(reply);
    if (transient(reply.status)) return this.#wait(reply);
    if (reply.status >= 400) this.#tally.settleDrop(record, "refused", problemOf(reply));
    else this.#settleSent(1);
    return true;
  }

  async #sendEvents(events) {
    if (events.length === 0) return [];
    for (const record of events) record.firstTry ??= now();
    const reply = await this.#door.post("/events", `[${events.map((record) => record.text).join(",")}]`);
    if (ok(reply)) {
      const results = reply.document?.resultados;
      if (!Array.isArray(results) || results.length !== events.length) {
        this.#wait(strange(reply));
        return events;
      }
      return this.#settleBatch(events, results, reply);
    }
    if (transient(reply.status)) {
      if (reply.status === 429) this.#pace.narrow(events.length);
      this.#wait(reply);
      return events;
    }
    if ([400, 413, 422].includes(reply.status) && events.length > 1) {
      // One of them spoils the batch: halves find out which, and the others are taken.
      const half = Math.floor(events.length / 2);
      const again = await this.#sendEvents(events.slice(0, half));
      const rest = events.slice(half);
      return again.concat(again.length ? rest : await this.#sendEvents(rest));
    }
    for (const record of events) this.#refuse(record, problemOf(reply));
    return [];
  }

  #settleBatch(events, results, reply) {
    const again = [];
    let cause = null;
    events.forEach((record, i) => {
      const status = Number.isInteger(results[i]?.estado) ? results[i].estado : 0;
      const problem = results[i]?.error ?? { status };
      if (status >= 200 && status < 300) this.#settleSent(1);
      else if (!transient(status)) this.#refuse(record, problem);
      else if (again.push(record)) cause ??= causeOf(problem);
    });
    if (again.length) this.#pace.backOff({ status: 429, retryAfterMs: reply.retryAfterMs }, cause);
    else this.#pace.widen();
    return again;
  }

  #refuse(record, problem) {
    if (problem.type === SESSION_NOT_FOUND) this.#tally.lose(record.session);
    this.#tally.settleDrop(record, "refused", problem);
  }

  #settleSent(count) {
    this.#tally.settleSent(count);
    this.#pace.good();
  }

  #wait(reply) {
    this.#pace.backOff(reply, causeOf(problemOf(reply)));
    return false;
  }
}
