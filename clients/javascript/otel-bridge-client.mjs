/**
 * Client of otel-bridge in one file, without dependencies: Node 18 or later, and browsers.
 *
 *     const client = new BridgeClient("https://koomtai.com/api", "devops-expert");
 *     const session = client.createSession("usuario123");
 *     const answer = await client.question(session, "consulta", text, async (q) => {
 *       const answer = await myGpt(text);
 *       q.tokens(25, 150);
 *       return answer;
 *     });
 *
 * What it promises:
 * - It never throws into the caller's code and never makes it wait: every call puts a record in a queue and returns;
 *   a timer sends. Only `flush` and `close` can be awaited, and they end within what they are told.
 * - Every record carries an id made here, so that sending it again is safe: while this process lives, what was queued
 *   is delivered once, however often the bridge goes away and comes back.
 * - A session is sent before its events. If the bridge is away, both wait.
 * - The queue is bounded, in records and in bytes. When it is full the newcomer is dropped: what stands in front of it
 *   may have been sent already, and sessions stand before their events.
 * - Whatever is dropped is counted (`stats`), told (`onDrop`) and logged (never with content).
 *
 * What it does not promise: the queue is memory. What waits when the process is killed is lost.
 */

export const VERSION = "0.1.0";

/** Bytes of one batch; the bridge takes 8 MiB. */
const MAX_BATCH_BYTES = 4 << 20;
/** UTF-16 units of content that are sent: more than the bridge looks at, so that it sees that there was more. */
const MAX_CONTENT_CHARS = 2 * 65_537;
/** The bridge recognises a repeated event for 24 hours: what was first tried longer ago is not sent again. */
const REPEAT_HORIZON_MS = 20 * 3600 * 1000;
const BACKOFF_MS = [500, 30_000];
const MAX_RETRY_AFTER_MS = 3600 * 1000;
const MAX_REFUSED_SESSIONS = 10_000;
const GZIP_FROM_BYTES = 1024;
const LOG_EVERY_MS = 60_000;
/** What browsers let a page that is going away still send, all requests together. */
const KEEPALIVE_BYTES = 60_000;
/** setTimeout counts in 32 bits. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const webcrypto = globalThis.crypto ?? (await import(/* @vite-ignore */ "node:" + "crypto")).webcrypto; // Node 18
const inNode = typeof process !== "undefined" && typeof process.once === "function" && !globalThis.document;
const utf8 = new TextEncoder();
const now = () => performance.now();

/** A UUIDv7 (RFC 9562): nobody can guess it, and those made together stand together in the bridge's index. */
export function newUuid() {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  let millis = Date.now();
  for (let i = 5; i >= 0; i--) {
    bytes[i] = millis % 256;
    millis = Math.floor(millis / 256);
  }
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** Whether the same record may be taken later: no answer, a redirect, a limit, a failing server. */
function transient(status) {
  if (status >= 200 && status < 300) return false;
  return status < 400 || status >= 500 || status === 408 || status === 425 || status === 429;
}

/** What `question` hands out: fill in what is known when the answer is there. */
class Question {
  tokensIn = 0;
  tokensOut = 0;
  /** @type {number | undefined} */ tokensCached;
  /** @type {string | undefined} */ model;
  /** @type {string | undefined} */ error;

  tokens(tokensIn, tokensOut, tokensCached) {
    this.tokensIn = tokensIn;
    this.tokensOut = tokensOut;
    this.tokensCached = tokensCached;
  }
}

/** One for the process, or for the page. */
export class BridgeClient {
  #url;
  #options;
  #headers;
  #queue = [];
  #bytes = 0;
  #inFlight = 0;
  #inFlightBytes = 0;
  #flying = [];
  #request = null;
  #timer = null;
  #sending = false;
  #closed = false;
  #over = false;
  #hurryUntil = 0;
  #failures = 0;
  #backoffUntil = 0;
  #serverWaitUntil = 0;
  #limit;
  #refused = new Set();
  #waiters = new Set();
  #settled = 0;
  #sent = 0;
  #retries = 0;
  #dropped = {};
  #lastError = null;
  #logged = new Map();
  #leaving = false;
  #forget = [];

  /**
   * @param {string | null | undefined} baseUrl the guide's «API Base URL»; null makes a client that drops everything,
   *   for tests and development; so does an unusable one, which is logged as an error.
   * @param {string} gptId
   * @param {import("./otel-bridge-client.d.ts").Options} [options]
   */
  constructor(baseUrl, gptId, options = {}) {
    this.gptId = gptId;
    this.#options = {
      apiKey: undefined,
      flushIntervalMs: 1000,
      batchSize: 200,
      maxQueue: 10_000,
      maxQueueBytes: 32 << 20,
      timeoutMs: 10_000,
      exitTimeoutMs: 5000,
      gzip: false,
      onDrop: undefined,
      logger: console,
      ...options,
    };
    this.#limit = this.#options.batchSize = Math.max(1, this.#options.batchSize);
    this.#headers = { "Content-Type": "application/json" };
    if (inNode) this.#headers["User-Agent"] = `otel-bridge-client-javascript/${VERSION}`;
    if (this.#options.apiKey) this.#headers.Authorization = `Bearer ${this.#options.apiKey}`;
    this.#url = this.#readUrl(baseUrl);
    this.#quiet("constructor", () => this.#watchTheEnd());
  }

  // --- what callers use ---------------------------------------------------------------------------------------

  /**
   * Opens a session and returns its id at once (`await` does no harm). The user id leaves the bridge only as a
   * keyed hash.
   */
  createSession(userId, options = {}) {
    let id = newUuid();
    this.#quiet("createSession", () => {
      const { sessionId, timestamp } = options ?? {};
      id = String(sessionId ?? id);
      this.#put(id, id, true, {
        id,
        gpt_id: this.gptId,
        usuario_id: String(userId),
        timestamp_inicio: timestamp ?? new Date().toISOString(),
      });
    });
    return id;
  }

  /**
   * Records an event: what was asked, how long the answer took, tokens of both. `error`: a short code; it marks the
   * event as failed. `tokensCached`: the part of `tokensIn` that the provider's cache served.
   */
  logEvent(sessionId, eventType, content, latencyMs, tokensIn = 0, tokensOut = 0, options = {}) {
    this.#quiet("logEvent", () => {
      const { model, error, timestamp, eventId, tokensCached } = options ?? {};
      const id = String(eventId ?? newUuid());
      const event = {
        id,
        sesion_id: String(sessionId),
        tipo: String(eventType),
        contenido: String(content).slice(0, MAX_CONTENT_CHARS),
        latency_ms: Math.round(Number(latencyMs) * 1000) / 1000,
        tokens_entrada: Number(tokensIn),
        tokens_salida: Number(tokensOut),
        timestamp: timestamp ?? new Date().toISOString(),
      };
      if (model) event.modelo = String(model);
      if (error) event.error = errorCode(error);
      if (tokensCached !== undefined && tokensCached !== null) event.tokens_cache = Number(tokensCached);
      const { latency_ms, tokens_entrada, tokens_salida, tokens_cache = 0 } = event;
      if (![latency_ms, tokens_entrada, tokens_salida, tokens_cache].every(Number.isFinite)) {
        this.#drop([{ id, isSession: false }], "invalid");
        return;
      }
      this.#put(id, event.sesion_id, false, event);
    });
  }

  /**
   * Runs `answer`, measures it and records it as one event. Returns what it returns; what it throws marks the event
   * as failed with the error's name and goes on to the caller.
   */
  async question(sessionId, eventType, content, answer, options = {}) {
    const q = new Question();
    q.model = options?.model;
    const started = now();
    try {
      return await answer(q);
    } catch (error) {
      q.error = q.error ?? error?.name ?? "Error";
      throw error;
    } finally {
      const { tokensIn, tokensOut, tokensCached, model, error } = q;
      this.logEvent(sessionId, eventType, content, now() - started, tokensIn, tokensOut, { model, error, tokensCached });
    }
  }

  /** Sends now what is queued now. Resolves to whether all of it is settled (delivered, or dropped). */
  async flush(timeoutMs = 10_000) {
    const goal = this.#settled + this.#pending();
    const deadline = now() + timeoutMs;
    this.#hurryUntil = Math.max(this.#hurryUntil, deadline);
    this.#backoffUntil = 0;
    this.#schedule();
    const done = () => this.#settled >= goal || this.#pending() === 0;
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

  /**
   * Sends what is queued within `timeoutMs` (default: `exitTimeoutMs`) and takes nothing more. Resolves to whether
   * nothing was left; what was is dropped, and counted as such.
   */
  async close(timeoutMs = this.#options.exitTimeoutMs) {
    this.#closed = true;
    for (const forget of this.#forget.splice(0)) forget();
    const all = await this.flush(timeoutMs);
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#over = true;
    this.#request?.abort(); // its answer would hold the process, and nobody waits for it any more
    const left = this.#queue.splice(0);
    this.#bytes = 0;
    this.#drop(left, "exit");
    return all && left.length === 0;
  }

  /**
   * `sent`, `pending`, `retries`, `lastError`, and `dropped` by reason: `queue_full`, `refused` (the bridge said no),
   * `session_refused` (an event of such a session), `invalid` (no number where one belongs), `expired`, `exit`,
   * `disabled`, `closed`.
   */
  stats() {
    return {
      sent: this.#sent,
      pending: this.#pending(),
      dropped: { ...this.#dropped },
      retries: this.#retries,
      lastError: this.#lastError,
    };
  }

  // --- the queue ------------------------------------------------------------------------------------------------

  #put(id, session, isSession, fields) {
    // Encoded now: what the caller does with its objects later changes nothing.
    const text = JSON.stringify(fields, (_, value) => (typeof value === "string" ? clean(value) : value));
    const record = { id, session, isSession, text, bytes: utf8.encode(text).length, queued: now(), firstTry: null };
    let reason = null;
    if (this.#url === null) reason = "disabled";
    else if (this.#closed) reason = "closed";
    else if (this.#refused.has(session)) reason = "session_refused";
    else if (
      this.#pending() >= this.#options.maxQueue ||
      this.#bytes + this.#inFlightBytes + record.bytes > this.#options.maxQueueBytes
    ) {
      reason = "queue_full";
      if (isSession) this.#refuse(session);
    }
    if (reason !== null) {
      this.#drop([record], reason);
      return;
    }
    this.#queue.push(record);
    this.#bytes += record.bytes;
    if (this.#timer === null || this.#queue.length === this.#limit) this.#schedule();
  }

  /** The bridge does not have this session and will not: its events need not be sent. */
  #refuse(session) {
    this.#refused.add(session);
    if (this.#refused.size > MAX_REFUSED_SESSIONS) this.#refused.delete(this.#refused.values().next().value);
  }

  #pending() {
    return this.#queue.length + this.#inFlight;
  }

  #drop(records, reason, problem = null) {
    for (const record of records) {
      this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1;
      if (reason !== "disabled" && reason !== "closed") {
        const words = problem?.type ? ` (${problem.type})` : "";
        this.#note(reason, `dropped ${record.isSession ? "session" : "event"} ${record.id}${words}`);
      }
      if (this.#options.onDrop) this.#quiet("onDrop", () => this.#options.onDrop(record.id, reason, problem));
    }
  }

  #quiet(where, action) {
    try {
      action();
    } catch (error) {
      this.#note("internal", `${where}: ${error?.name}`);
    }
  }

  /** Logs the first of a kind, then once a minute how many there were. */
  #note(kind, words) {
    try {
      this.#lastError = `${kind}: ${words}`;
      const [at, unsaid] = this.#logged.get(kind) ?? [-Infinity, 0];
      if (now() - at < LOG_EVERY_MS) {
        this.#logged.set(kind, [at, unsaid + 1]);
        return;
      }
      this.#logged.set(kind, [now(), 0]);
      const more = unsaid ? ` (and ${unsaid} more since the last such line)` : "";
      this.#options.logger?.warn(`otel-bridge: ${kind}: ${words}${more}`);
    } catch {
      // a broken logger is not the caller's problem either
    }
  }

  // --- the timer --------------------------------------------------------------------------------------------------

  /** One timer, set to when the next batch is due. */
  #schedule() {
    if (this.#sending) return; // what sends schedules when it is done
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#queue.length === 0) return;
    let due = Math.max(this.#backoffUntil, this.#serverWaitUntil);
    if (now() >= this.#hurryUntil && this.#queue.length < this.#limit) {
      due = Math.max(due, this.#queue[0].queued + this.#options.flushIntervalMs);
    }
    this.#timer = setTimeout(() => this.#work(), Math.min(LONGEST_TIMER_MS, Math.max(0, due - now())));
    // The process need not live for it: what is left when nothing else happens is sent before the exit.
    this.#timer?.unref?.();
  }

  async #work() {
    if (this.#sending) return;
    this.#timer = null;
    this.#sending = true;
    const records = [];
    let size = 0;
    while (this.#queue.length && records.length < this.#limit) {
      size += this.#queue[0].bytes + 1;
      if (records.length && size > MAX_BATCH_BYTES) break;
      records.push(this.#queue.shift());
    }
    this.#inFlight = records.length;
    this.#inFlightBytes = size;
    this.#bytes -= records.reduce((sum, record) => sum + record.bytes, 0);
    this.#flying = records;
    let again = records;
    try {
      again = await this.#deliver(records);
    } catch (error) {
      this.#note("internal", `send: ${error?.name}`);
      this.#backOff({ status: 0, words: String(error?.name) });
    } finally {
      if (this.#over) this.#drop(again.splice(0), "exit");
      this.#queue.unshift(...again);
      this.#bytes += again.reduce((sum, record) => sum + record.bytes, 0);
      this.#retries += again.length;
      this.#inFlight = 0;
      this.#inFlightBytes = 0;
      this.#flying = [];
      this.#sending = false;
      for (const waiter of [...this.#waiters]) waiter();
      this.#schedule();
    }
  }

  /** Sends sessions one by one, then events as one batch. Returns what must be tried again, in order. */
  async #deliver(records) {
    const again = [];
    const events = [];
    let away = false;
    for (const record of records) {
      if (record.firstTry !== null && now() - record.firstTry > REPEAT_HORIZON_MS) {
        this.#settleDrop(record, "expired");
      } else if (!record.isSession) {
        events.push(record);
      } else if (away || (away = !(await this.#sendSession(record)))) {
        again.push(record);
      }
    }
    // The bridge is away or busy: one request at a time finds out when it is back.
    if (away) return again.concat(events);
    const ready = events.filter((record) => {
      if (!this.#refused.has(record.session)) return true;
      this.#settleDrop(record, "session_refused");
      return false;
    });
    return again.concat(await this.#sendEvents(ready));
  }

  /** Whether it is settled. */
  async #sendSession(record) {
    record.firstTry ??= now();
    let reply = await this.#post("/sessions", record.text);
    if (ok(reply) && reply.document?.id !== record.id) reply = strange(reply);
    if (transient(reply.status)) {
      this.#backOff(reply);
      return false;
    }
    if (reply.status >= 400) {
      this.#refuse(record.session);
      this.#settleDrop(record, "refused", reply.document ?? { status: reply.status });
    } else {
      this.#settleSent(1);
    }
    return true;
  }

  async #sendEvents(events) {
    if (events.length === 0) return [];
    for (const record of events) record.firstTry ??= now();
    const reply = await this.#post("/events", `[${events.map((record) => record.text).join(",")}]`);
    if (ok(reply)) {
      const results = reply.document?.resultados;
      if (!Array.isArray(results) || results.length !== events.length) {
        this.#backOff(strange(reply));
        return events;
      }
      return this.#settleBatch(events, results, reply);
    }
    if (transient(reply.status)) {
      // A batch larger than the limit itself is never let in.
      if (reply.status === 429) this.#limit = Math.max(1, Math.floor(events.length / 2));
      this.#backOff(reply);
      return events;
    }
    if ([400, 413, 422].includes(reply.status) && events.length > 1) {
      // One of them spoils the batch: halves find out which, and the others are taken.
      const half = Math.floor(events.length / 2);
      const again = await this.#sendEvents(events.slice(0, half));
      const rest = events.slice(half);
      return again.concat(again.length ? rest : await this.#sendEvents(rest));
    }
    for (const record of events) this.#settleDrop(record, "refused", reply.document ?? { status: reply.status });
    return [];
  }

  #settleBatch(events, results, reply) {
    const again = [];
    events.forEach((record, i) => {
      const status = Number.isInteger(results[i]?.estado) ? results[i].estado : 0;
      if (status >= 200 && status < 300) this.#settleSent(1);
      else if (transient(status)) again.push(record);
      else this.#settleDrop(record, "refused", results[i].error ?? { status });
    });
    if (again.length) this.#backOff({ status: 429, retryAfterMs: reply.retryAfterMs });
    else this.#limit = Math.min(this.#options.batchSize, this.#limit * 2);
    return again;
  }

  #settleSent(count) {
    this.#sent += count;
    this.#settled += count;
    this.#inFlight -= count;
    this.#failures = 0;
  }

  #settleDrop(record, reason, problem = null) {
    this.#inFlight -= 1;
    this.#settled += 1;
    this.#drop([record], reason, problem);
  }

  /** Nothing is sent for a while: as long as the bridge asks for, else exponentially longer each time; with jitter. */
  #backOff(reply) {
    const [first, longest] = BACKOFF_MS;
    if (reply.retryAfterMs) {
      const asked = Math.min(reply.retryAfterMs, MAX_RETRY_AFTER_MS);
      this.#serverWaitUntil = now() + asked * (1 + Math.random() / 10);
    } else {
      const wait = Math.min(longest, first * 2 ** Math.min(this.#failures, 16));
      this.#failures += 1;
      this.#backoffUntil = now() + wait * (0.5 + Math.random() / 2);
    }
    this.#note("retry", reply.status ? String(reply.status) : (reply.words ?? "no answer"));
  }

  // --- HTTP ---------------------------------------------------------------------------------------------------------

  #readUrl(baseUrl) {
    if (baseUrl === null || baseUrl === undefined || baseUrl === "") return null;
    const { apiKey, logger } = this.#options;
    const refuse = (words) => {
      this.#quiet("logger", () => logger?.error(`otel-bridge: ${words}: nothing will be sent`));
      return null;
    };
    let url;
    try {
      url = new URL(String(baseUrl));
    } catch {
      return refuse("baseUrl is not a URL such as https://koomtai.com/api");
    }
    if (!["http:", "https:"].includes(url.protocol)) return refuse("baseUrl is neither http nor https");
    if (apiKey && !/^[\x21-\x7e]+$/.test(apiKey)) return refuse("apiKey has characters that no key has");
    if (apiKey && url.protocol === "http:" && !["localhost", "127.0.0.1", "[::1]"].includes(url.hostname)) {
      this.#note("key", `the API key travels unencrypted to ${url.hostname}: use https`);
    }
    const path = url.pathname.replace(/\/+$/, "");
    return url.origin + (path || "/api");
  }

  async #post(path, text) {
    const headers = { ...this.#headers };
    let body = text;
    const abort = (this.#request = new AbortController());
    const timer = setTimeout(() => abort.abort(), this.#options.timeoutMs);
    try {
      if (this.#options.gzip && !this.#leaving && text.length >= GZIP_FROM_BYTES && globalThis.CompressionStream) {
        const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
        body = await new Response(stream).arrayBuffer();
        headers["Content-Encoding"] = "gzip";
      }
      const response = await fetch(this.#url + path, {
        method: "POST",
        headers,
        body,
        signal: abort.signal,
        // A key must not follow to wherever a redirect points.
        redirect: "error",
        credentials: "omit",
        keepalive: this.#leaving && text.length < KEEPALIVE_BYTES,
      });
      const answer = await response.text();
      return {
        status: response.status,
        document: parse(answer),
        retryAfterMs: milliseconds(response.headers.get("Retry-After")),
      };
    } catch (error) {
      return { status: 0, words: String(error?.cause?.code ?? error?.name) };
    } finally {
      clearTimeout(timer);
      this.#request = null;
    }
  }

  // --- the end ------------------------------------------------------------------------------------------------------

  #watchTheEnd() {
    if (inNode) {
      // Nothing else is left to do: the rest of the queue gets its time, once. (process.exit() and signals give
      // none: await close() before them.)
      const last = () => this.close();
      process.once("beforeExit", last);
      this.#forget.push(() => process.removeListener("beforeExit", last));
      return;
    }
    if (!globalThis.document?.addEventListener) return;
    const on = (target, name, handler) => {
      target.addEventListener(name, handler);
      this.#forget.push(() => target.removeEventListener(name, handler));
    };
    // A hidden page may be ended without another word; what is sent now, and again should it come back, counts once.
    on(document, "visibilitychange", () => {
      this.#leaving = document.visibilityState === "hidden";
      if (this.#leaving) this.#quiet("visibilitychange", () => void this.flush(this.#options.exitTimeoutMs));
    });
    on(globalThis, "pagehide", () => this.#quiet("pagehide", () => this.#lastWords()));
  }

  /**
   * The page goes now: everything at once, without waiting for answers. Nothing leaves the queue, for the page may
   * come back (bfcache); ids make the repeat harmless.
   */
  #lastWords() {
    this.#leaving = true;
    if (this.#url === null) return;
    const all = this.#flying.concat(this.#queue);
    const sessions = all.filter((record) => record.isSession);
    const events = all.filter((record) => !record.isSession);
    let room = KEEPALIVE_BYTES;
    const send = (path, text) => {
      room -= utf8.encode(text).length;
      if (room < 0) return;
      if (!this.#options.apiKey && !("keepalive" in Request.prototype) && navigator.sendBeacon) {
        navigator.sendBeacon(this.#url + path, new Blob([text], { type: "application/json" }));
        return;
      }
      const request = { method: "POST", headers: this.#headers, body: text, keepalive: true, credentials: "omit" };
      fetch(this.#url + path, { ...request, redirect: "error" }).catch(() => {});
    };
    for (const record of sessions) {
      record.firstTry ??= now();
      send("/sessions", record.text);
    }
    const batch = [];
    let size = 2;
    for (const record of events) {
      size += record.bytes + 1;
      if (size > room) break;
      record.firstTry ??= now();
      batch.push(record.text);
    }
    if (batch.length) send("/events", `[${batch.join(",")}]`);
  }
}

const ok = (reply) => reply.status >= 200 && reply.status < 300;
const strange = (reply) => ({ status: 0, words: `${reply.status} that is not the bridge's` });

function parse(text) {
  try {
    const found = JSON.parse(text);
    return found && typeof found === "object" && !Array.isArray(found) ? found : null;
  } catch {
    return null;
  }
}

/** Text that JSON and the bridge take: no NUL, no half of a surrogate pair. */
function clean(text) {
  const whole = /[\ud800-\udfff]/.test(text) ? new TextDecoder().decode(utf8.encode(text)) : text;
  return whole.includes("\0") ? whole.replaceAll("\0", "\ufffd") : whole;
}

/** Letters, digits and `_ . : / -`, 64 at the most. */
function errorCode(error) {
  return String(error)
    .replace(/[^A-Za-z0-9_.:/-]/g, "_")
    .slice(0, 64);
}

/** `Retry-After`: seconds or a date; 0 where it is neither. */
function milliseconds(retryAfter) {
  if (!retryAfter) return 0;
  if (/^\s*\d+\s*$/.test(retryAfter)) return Number(retryAfter) * 1000;
  const date = Date.parse(retryAfter);
  return Number.isNaN(date) ? 0 : Math.max(0, date - Date.now());
}
