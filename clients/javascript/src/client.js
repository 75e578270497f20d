import { Door } from "./door.js";
import { watchTheEnd } from "./ending.js";
import { conversationUuid, newUuid } from "./ids.js";
import { Log } from "./log.js";
import { Measure, observed } from "./measure.js";
import { Outbox } from "./outbox.js";
import { timestampNow } from "./platform.js";
import { END, EVENT, RATING, SESSION, eventFields, record } from "./record.js";
import { Sessions } from "./sessions.js";
import { Tally } from "./tally.js";

const ANONYMOUS = "anonimo";

const DEFAULTS = {
  apiKey: undefined,
  flushIntervalMs: 1000,
  batchSize: 200,
  maxQueue: 10_000,
  maxQueueBytes: 32 << 20,
  timeoutMs: 10_000,
  exitTimeoutMs: 5000,
  gzip: false,
  onDrop: undefined,
};

/**
 * One for the process, or for the page.
 *
 * - It never throws into the caller's code and never makes it wait: every call puts a record in a queue and returns;
 *   a timer sends. Only `flush` and `close` can be awaited, and they end within what they are told.
 * - Every record carries an id made here, so that sending it again is safe: while this process lives, what was queued
 *   is delivered once, however often the bridge goes away and comes back.
 * - A session is sent before its events, an event before what speaks of it. If the bridge is away, all wait.
 * - The queue is bounded, in records and in bytes. When it is full the newcomer is dropped.
 * - Whatever is dropped is counted (`stats`), told (`onDrop`) and logged (never with content).
 *
 * What it does not promise: the queue is memory. What waits when the process is killed is lost.
 */
export class BridgeClient {
  #options;
  #log;
  #tally;
  #outbox;
  #sessions;
  #forget = () => {};

  /**
   * `baseUrl`: the guide's «API Base URL»; null makes a client that drops everything, for tests and development; so
   * does an unusable one, which is logged as an error.
   */
  constructor(baseUrl, gptId, options = {}) {
    this.gptId = gptId;
    this.#options = { ...DEFAULTS, logger: console, ...options };
    this.#log = new Log(this.#options.logger);
    this.#tally = new Tally(this.#options.onDrop, this.#log);
    const door = new Door(baseUrl, this.#options, this.#log);
    const outbox = (this.#outbox = new Outbox(this.#options, door, this.#tally, this.#log));
    this.#sessions = new Sessions((id) => this.#tally.isGone(id));
    const flush = () => this.flush(this.#options.exitTimeoutMs);
    this.#log.quiet("constructor", () => {
      this.#forget = watchTheEnd({ door, outbox, log: this.#log, close: () => this.close(), flush });
    });
  }

  /**
   * Opens a session and returns its id at once (`await` does no harm). The user id leaves the bridge only as a
   * keyed hash.
   */
  createSession(userId, options = {}) {
    let id = newUuid();
    this.#log.quiet("createSession", () => {
      const { sessionId, timestamp } = options ?? {};
      id = String(sessionId ?? id);
      this.#open(id, userId, timestamp);
    });
    return id;
  }

  /**
   * The session of a conversation, the same one in every process and after every restart; the first call opens it.
   * Without a conversation: this process's session of that user, another one after half an hour without a call.
   */
  sessionFor(userId = ANONYMOUS, conversation = undefined) {
    return this.#opened("sessionFor", userId, (open) => {
      if (conversation === undefined || conversation === null) return this.#sessions.ofUser(String(userId ?? ANONYMOUS), open);
      const derive = () => conversationUuid(this.gptId, String(conversation), this.#options.apiKey);
      return this.#sessions.ofConversation(String(conversation), (id = derive()) => open(id, true));
    });
  }

  /** The session that goes with an object of yours, such as a connection, as long as that lives. */
  sessionOf(owner, userId = ANONYMOUS) {
    return this.#opened("sessionOf", userId, (open) => this.#sessions.ofObject(owner, open));
  }

  #opened(where, userId, find) {
    const open = (id = newUuid(), shared = false) => {
      this.#tally.forgive(id);
      this.#open(id, userId ?? ANONYMOUS, undefined, shared);
      return id;
    };
    return this.#log.quiet(where, () => find(open)) ?? newUuid();
  }

  #open(id, userId, timestamp, shared = false) {
    const fields = {
      id,
      gpt_id: this.gptId,
      usuario_id: String(userId),
      timestamp_inicio: timestamp ?? timestampNow(),
    };
    this.#outbox.put(record(SESSION, id, id, fields, shared));
  }

  /**
   * Records an event: what was asked, how long the answer took, tokens of both. Returns its id, at once. `error`: a
   * short code; it marks the event as failed. The other options: see the types.
   */
  logEvent(sessionId, eventType, content, latencyMs, tokensIn = 0, tokensOut = 0, options = {}) {
    let id = newUuid();
    this.#log.quiet("logEvent", () => {
      const { timestamp = timestampNow(), eventId, ...more } = options ?? {};
      id = String(eventId ?? id);
      const numbers = [latencyMs, tokensIn, tokensOut];
      const event = eventFields(id, sessionId, eventType, content, ...numbers, more, timestamp ?? timestampNow());
      if (event === null) this.#tally.drop([{ id, kind: EVENT }], "invalid");
      else this.#outbox.put(record(EVENT, id, event.sesion_id, event));
    });
    return id;
  }

  /**
   * Runs `answer`, measures it and records it as one event. Returns what it returns; what it throws marks the event
   * as failed with the error's name and goes on to the caller.
   */
  async question(sessionId, eventType, content, answer, options = {}) {
    const q = new Measure(this, { ...options, session: sessionId, eventType, content });
    return observed(
      this,
      async () => answer(q),
      () => q.end(),
      (error) => q.end(error),
    );
  }

  /** What somebody thought of an answer: from -1 (bad) to 1 (good), and why. */
  rate(eventId, valor, comentario) {
    this.#log.quiet("rate", () => {
      const id = String(eventId ?? "");
      // Without an id: the bridge knows the same rating again by what it says, be it sent or pressed twice.
      const fields = { valor: typeof valor === "number" ? valor : NaN };
      if (comentario !== undefined && comentario !== null) fields.comentario = String(comentario);
      if (id && fields.valor >= -1 && fields.valor <= 1) this.#outbox.put(record(RATING, id, null, fields));
      else this.#tally.drop([{ id, kind: RATING }], "invalid");
    });
  }

  /** Ends a session: nothing more is to come. Those that nobody ends, end by themselves when they fall idle. */
  endSession(sessionId) {
    this.#log.quiet("endSession", () => {
      const id = String(sessionId ?? "");
      this.#sessions.forget(id);
      if (id) this.#outbox.put(record(END, id, id, {}));
      else this.#tally.drop([{ id, kind: END }], "invalid");
    });
  }

  /** Sends now what is queued now. Resolves to whether all of it is settled (delivered, or dropped). */
  async flush(timeoutMs = 10_000) {
    return this.#outbox.flush(timeoutMs);
  }

  /**
   * Sends what is queued within `timeoutMs` (default: `exitTimeoutMs`) and takes nothing more. Resolves to whether
   * nothing was left; what was is dropped, and counted as such.
   */
  async close(timeoutMs = this.#options.exitTimeoutMs) {
    this.#forget();
    return this.#outbox.close(timeoutMs);
  }

  /** What became of the records. `dropped` is by reason: see the types. */
  stats() {
    const { sent, retries, dropped } = this.#tally;
    return { sent, pending: this.#outbox.pending, dropped, retries, lastError: this.#log.lastError };
  }

  /** For this package's own modules (`inside.js`). */
  get [Symbol.for("otel-bridge-client")]() {
    return {
      note: (where, error) => this.#log.note("internal", `${where}: ${error?.name ?? error}`),
      drop: (id, reason) => this.#tally.drop([{ id, kind: EVENT }], reason),
    };
  }
}
