// Generated from src/ by build.mjs: change nothing here.
var __defProp = Object.defineProperty;
var __getOwnPropDesc = Object.getOwnPropertyDescriptor;
var __getOwnPropNames = Object.getOwnPropertyNames;
var __hasOwnProp = Object.prototype.hasOwnProperty;
var __export = (target, all) => {
  for (var name in all)
    __defProp(target, name, { get: all[name], enumerable: true });
};
var __copyProps = (to, from, except, desc) => {
  if (from && typeof from === "object" || typeof from === "function") {
    for (let key of __getOwnPropNames(from))
      if (!__hasOwnProp.call(to, key) && key !== except)
        __defProp(to, key, { get: () => from[key], enumerable: !(desc = __getOwnPropDesc(from, key)) || desc.enumerable });
  }
  return to;
};
var __toCommonJS = (mod) => __copyProps(__defProp({}, "__esModule", { value: true }), mod);

// src/index.js
var index_exports = {};
__export(index_exports, {
  BridgeClient: () => BridgeClient,
  VERSION: () => VERSION,
  current: () => current,
  instrument: () => instrument,
  medir: () => medir,
  medirRespuesta: () => medirRespuesta,
  newUuid: () => newUuid
});
module.exports = __toCommonJS(index_exports);

// src/platform.js
var VERSION = "0.1.0";
var inNode = typeof process !== "undefined" && typeof process.once === "function" && !globalThis.document;
var now = () => performance.now();
var timestampNow = () => (/* @__PURE__ */ new Date()).toISOString();
var utf8 = new TextEncoder();
var bytesOf = (text3) => utf8.encode(text3);

// src/reply.js
var ok = (reply) => reply.status >= 200 && reply.status < 300;
var strange = (reply) => ({ status: 0, words: `${reply.status} that is not the bridge's` });
function transient(status) {
  if (status >= 200 && status < 300) return false;
  return status < 400 || status >= 500 || status === 408 || status === 425 || status === 429;
}
function problemOf(reply) {
  return { ...reply.document, status: reply.status };
}
var OURS = "urn:otel-bridge:";
function causeOf(problem) {
  if (!problem?.status) return null;
  const known2 = typeof problem.type === "string" && problem.type.startsWith(OURS) && typeof problem.title === "string";
  return `HTTP ${problem.status}${known2 ? ` ${problem.title.slice(0, 100)}` : ""}`;
}
function parse(text3) {
  try {
    const found = JSON.parse(text3);
    return found && typeof found === "object" && !Array.isArray(found) ? found : null;
  } catch {
    return null;
  }
}
function milliseconds(retryAfter) {
  if (!retryAfter) return 0;
  if (/^\s*\d+\s*$/.test(retryAfter)) return Number(retryAfter) * 1e3;
  const date = Date.parse(retryAfter);
  return Number.isNaN(date) ? 0 : Math.max(0, date - Date.now());
}

// src/door.js
var GZIP_FROM_BYTES = 1024;
var KEEPALIVE_BYTES = 6e4;
var Door = class {
  #options;
  #log;
  #request = null;
  /** Whether the page may end at any moment. */
  leaving = false;
  constructor(baseUrl, options, log) {
    this.#options = options;
    this.#log = log;
    this.headers = { "Content-Type": "application/json" };
    if (inNode) this.headers["User-Agent"] = `otel-bridge-client-javascript/${VERSION}`;
    if (options.apiKey) this.headers.Authorization = `Bearer ${options.apiKey}`;
    this.url = this.#readUrl(baseUrl);
  }
  #readUrl(baseUrl) {
    if (baseUrl === null || baseUrl === void 0 || baseUrl === "") return null;
    const { apiKey } = this.#options;
    const refuse = (words) => {
      this.#log.error(`${words}: nothing will be sent`);
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
      this.#log.note("key", `the API key travels unencrypted to ${url.hostname}: use https`);
    }
    const path = url.pathname.replace(/\/+$/, "");
    return url.origin + (path || "/api");
  }
  async post(path, text3) {
    const headers = { ...this.headers };
    let body = text3;
    const abort = this.#request = new AbortController();
    const timer = setTimeout(() => abort.abort(), this.#options.timeoutMs);
    try {
      if (this.#options.gzip && !this.leaving && text3.length >= GZIP_FROM_BYTES && globalThis.CompressionStream) {
        const stream = new Blob([text3]).stream().pipeThrough(new CompressionStream("gzip"));
        body = await new Response(stream).arrayBuffer();
        headers["Content-Encoding"] = "gzip";
      }
      const response = await fetch(this.url + path, {
        method: "POST",
        headers,
        body,
        signal: abort.signal,
        // A key must not follow to wherever a redirect points.
        redirect: "error",
        credentials: "omit",
        keepalive: this.leaving && text3.length < KEEPALIVE_BYTES
      });
      const answer = await response.text();
      return {
        status: response.status,
        document: parse(answer),
        retryAfterMs: milliseconds(response.headers.get("Retry-After"))
      };
    } catch (error) {
      return { status: 0, words: String(error?.cause?.code ?? error?.name) };
    } finally {
      clearTimeout(timer);
      this.#request = null;
    }
  }
  /** Sends without waiting for an answer: the page goes. */
  tell(path, text3) {
    if (!this.#options.apiKey && !("keepalive" in Request.prototype) && navigator.sendBeacon) {
      navigator.sendBeacon(this.url + path, new Blob([text3], { type: "application/json" }));
      return;
    }
    const request = { method: "POST", headers: this.headers, body: text3, keepalive: true, credentials: "omit" };
    fetch(this.url + path, { ...request, redirect: "error" }).catch(() => {
    });
  }
  /** Ends the request that is under way: its answer would hold the process, and nobody waits for it any more. */
  abort() {
    this.#request?.abort();
  }
};

// src/record.js
var MAX_CONTENT_CHARS = 2 * 65537;
var MAX_TOOLS = 50;
var SESSION = "session";
var EVENT = "event";
var RATING = "rating";
var END = "end";
function record(kind, id, session, fields, shared = false) {
  const text3 = JSON.stringify(fields, (_, value) => typeof value === "string" ? clean(value) : value);
  return { kind, id, session, text: text3, bytes: bytesOf(text3).length, queued: now(), firstTry: null, shared };
}
function pathOf({ kind, id }) {
  if (kind === RATING) return `/events/${encodeURIComponent(clean(id))}/valoracion`;
  if (kind === END) return `/sessions/${encodeURIComponent(clean(id))}/fin`;
  return kind === SESSION ? "/sessions" : "/events";
}
function eventFields(id, session, type, content, latencyMs, tokensIn, tokensOut, options, timestamp) {
  const { model, error, tokensCached, tokensReasoning, ttftMs, tools, version } = options;
  const event = {
    id,
    sesion_id: String(session),
    tipo: String(type),
    contenido: String(content).slice(0, MAX_CONTENT_CHARS),
    latency_ms: thousandths(latencyMs),
    tokens_entrada: Number(tokensIn),
    tokens_salida: Number(tokensOut),
    timestamp
  };
  const numbers = [event.latency_ms, event.tokens_entrada, event.tokens_salida];
  if (model) event.modelo = String(model);
  if (error) event.error = code(error);
  if (version) event.version = code(version, /[^A-Za-z0-9_.:/+@-]/g);
  if (known(tokensCached)) numbers.push(event.tokens_cache = Number(tokensCached));
  if (known(tokensReasoning)) numbers.push(event.tokens_razonamiento = Number(tokensReasoning));
  if (known(ttftMs)) numbers.push(event.ttft_ms = thousandths(ttftMs));
  if (tools?.length) {
    event.herramientas = Array.from(tools).slice(0, MAX_TOOLS).map(({ name, ms, error: failure }) => {
      const tool = { nombre: code(name, NO_CODE, 128) || "_", ms: thousandths(ms) };
      if (failure) tool.error = code(failure);
      numbers.push(tool.ms);
      return tool;
    });
  }
  return numbers.every(Number.isFinite) ? event : null;
}
function errorName(error) {
  const own = error?.name;
  if (own && own !== "Error") return String(own);
  return error?.constructor?.name || "Error";
}
var NO_CODE = /[^A-Za-z0-9_.:/-]/g;
var known = (value) => value !== void 0 && value !== null;
var thousandths = (ms) => Math.round(Number(ms) * 1e3) / 1e3;
function code(value, others = NO_CODE, longest = 64) {
  return String(value).replace(others, "_").slice(0, longest);
}
function clean(text3) {
  const whole = /[\ud800-\udfff]/.test(text3) ? new TextDecoder().decode(bytesOf(text3)) : text3;
  return whole.includes("\0") ? whole.replaceAll("\0", "�") : whole;
}

// src/ending.js
function watchTheEnd({ door, outbox, log, close, flush }) {
  if (inNode) {
    const last = () => close();
    process.once("beforeExit", last);
    return () => process.removeListener("beforeExit", last);
  }
  if (!globalThis.document?.addEventListener) return () => {
  };
  const forget = [];
  const on = (target, name, handler) => {
    const quiet2 = () => log.quiet(name, handler);
    target.addEventListener(name, quiet2);
    forget.push(() => target.removeEventListener(name, quiet2));
  };
  on(document, "visibilitychange", () => {
    door.leaving = document.visibilityState === "hidden";
    if (door.leaving) void flush();
  });
  on(globalThis, "pagehide", () => lastWords(door, outbox.all));
  return () => forget.forEach((one) => one());
}
function lastWords(door, all) {
  door.leaving = true;
  if (door.url === null) return;
  const sessions = all.filter((record2) => record2.kind === SESSION);
  const events = all.filter((record2) => record2.kind === EVENT);
  const under = new Set([...sessions, ...events].flatMap((record2) => [record2.id, record2.session]));
  const about = all.filter(({ kind, id }) => kind !== SESSION && kind !== EVENT && !under.has(id));
  let room = KEEPALIVE_BYTES;
  const send = (path, text3) => {
    room -= bytesOf(text3).length;
    if (room >= 0) door.tell(path, text3);
  };
  const alone = (record2) => {
    record2.firstTry ??= now();
    send(pathOf(record2), record2.text);
  };
  sessions.forEach(alone);
  const batch = [];
  let size = 2;
  for (const record2 of events) {
    size += record2.bytes + 1;
    if (size > room) break;
    record2.firstTry ??= now();
    batch.push(record2.text);
  }
  if (batch.length) send("/events", `[${batch.join(",")}]`);
  about.forEach(alone);
}

// src/ids.js
function newUuid() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  let millis = Date.now();
  for (let i = 5; i >= 0; i--) {
    bytes[i] = millis % 256;
    millis = Math.floor(millis / 256);
  }
  return stamped(bytes, 7);
}
function conversationUuid(gptId, conversation, key) {
  const crypto = globalThis.process?.getBuiltinModule?.("node:crypto");
  if (!crypto) return newUuid();
  const secret = crypto.createHash("sha256").update(`otel-bridge\0${key ?? ""}`).digest();
  return stamped(crypto.createHmac("sha256", secret).update(`${gptId}\0${conversation}`).digest().subarray(0, 16), 8);
}
function stamped(bytes, version) {
  bytes[6] = bytes[6] & 15 | version << 4;
  bytes[8] = bytes[8] & 63 | 128;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

// src/log.js
var LOG_EVERY_MS = 6e4;
var Log = class {
  #logger;
  #said = /* @__PURE__ */ new Map();
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
      return void 0;
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
    }
  }
  error(words) {
    this.lastError = words;
    this.quiet("logger", () => this.#logger?.error(`otel-bridge: ${words}`));
  }
};

// src/inside.js
var INSIDE = /* @__PURE__ */ Symbol.for("otel-bridge-client");
function quiet(client, where, action) {
  try {
    return action();
  } catch (error) {
    client?.[INSIDE]?.note(where, error);
    return void 0;
  }
}
var drop = (client, eventId, reason) => client?.[INSIDE]?.drop(eventId, reason);
var note = (client, where, words) => client?.[INSIDE]?.note(where, words);

// src/usage.js
var Usage = class {
  #byAnswer = /* @__PURE__ */ new Map();
  #unnamed = 0;
  /** Takes an answer, or the part of one; `unnamed`: which it is where it has no id. */
  read(answer, unnamed = this.#unnamed += 1) {
    const found = tokensOf(answer?.usage);
    if (found) this.#byAnswer.set(answer.id ?? unnamed, found);
    return { tokens: this.tokens, model: text(answer?.model), error: failureOf(answer) };
  }
  /** The sum; null where nothing was said. */
  get tokens() {
    if (this.#byAnswer.size === 0) return null;
    const sum = {};
    for (const tokens of this.#byAnswer.values()) {
      for (const [name, count] of Object.entries(tokens)) sum[name] = (sum[name] ?? 0) + count;
    }
    return sum;
  }
};
function tokensOf(usage) {
  const tokensIn = usage?.input_tokens ?? usage?.prompt_tokens;
  const tokensOut = usage?.output_tokens ?? usage?.completion_tokens ?? usage?.total_tokens - tokensIn;
  if (!isCount(tokensIn) || !isCount(tokensOut)) return null;
  const cached = (usage.input_tokens_details ?? usage.prompt_tokens_details)?.cached_tokens ?? usage.prompt_cache_hit_tokens;
  const reasoning = (usage.output_tokens_details ?? usage.completion_tokens_details)?.reasoning_tokens;
  const tokens = { tokensIn, tokensOut };
  if (isCount(cached) && cached <= tokensIn) tokens.tokensCached = cached;
  if (isCount(reasoning) && reasoning <= tokensOut) tokens.tokensReasoning = reasoning;
  return tokens;
}
function failureOf(answer) {
  const { status, error } = answer ?? {};
  if (status === "failed" || status === "cancelled") return text(error?.code) ?? status;
  return error ? text(error.code) ?? text(error.type) ?? "error" : void 0;
}
var isCount = (value) => Number.isInteger(value) && value >= 0;
var text = (value) => typeof value === "string" && value ? value : void 0;

// src/watch.js
function yields(thing) {
  if (typeof thing?.[Symbol.asyncIterator] !== "function") return false;
  return typeof thing.getReader !== "function" && typeof thing.pipe !== "function";
}
function watch(client, iterable, { item, end, fail }) {
  const tell = (action) => quiet(client, "stream", action);
  const hear = (iterator) => {
    const { next, return: leave, throw: raise } = iterator;
    const own = {
      next(...values) {
        const answer = next.apply(iterator, values);
        Promise.resolve(answer).then(
          (found) => tell(() => found.done ? end() : item(found.value)),
          (error) => tell(() => fail(error))
        );
        return answer;
      },
      return(...values) {
        tell(() => end());
        return leave ? leave.apply(iterator, values) : Promise.resolve({ done: true, value: values[0] });
      }
    };
    if (raise) {
      own.throw = (error) => {
        tell(() => fail(error));
        return raise.call(iterator, error);
      };
    }
    return Object.assign(iterator, own);
  };
  tell(() => {
    if (typeof iterable.next === "function") {
      hear(iterable);
      return;
    }
    const name = typeof iterable.iterator === "function" ? "iterator" : Symbol.asyncIterator;
    const begin2 = iterable[name];
    Object.defineProperty(iterable, name, {
      value: (...values) => hear(begin2.apply(iterable, values)),
      configurable: true,
      writable: true
    });
  });
}

// src/measure.js
var Measure = class {
  tokensIn = 0;
  tokensOut = 0;
  tokensCached;
  tokensReasoning;
  model;
  error;
  version;
  content;
  #client;
  #session;
  #eventType;
  #started = now();
  #firstToken;
  #latency;
  #tools = [];
  #usage = new Usage();
  #ended = false;
  constructor(client, { session, eventType, content = "", model, version, eventId } = {}) {
    this.#client = client;
    this.#session = session;
    this.#eventType = eventType;
    Object.assign(this, { content, model, version });
    this.eventId = quiet(client, "eventId", () => String(eventId ?? newUuid())) ?? newUuid();
  }
  tokens(tokensIn, tokensOut, tokensCached, tokensReasoning) {
    Object.assign(this, { tokensIn, tokensOut, tokensCached, tokensReasoning });
  }
  /**
   * Adds what an answer of a model says of its tokens, its model and its failure (OpenAI's form); returns the answer.
   * The same answer again adds nothing.
   */
  read(answer, unnamed) {
    quiet(this.#client, "read", () => {
      const { tokens, model, error } = this.#usage.read(answer, unnamed);
      if (tokens) this.tokens(tokens.tokensIn, tokens.tokensOut, tokens.tokensCached, tokens.tokensReasoning);
      this.model = model ?? this.model;
      this.error ??= error;
    });
    return answer;
  }
  /** Whether an answer that was read said its tokens. */
  get usageKnown() {
    return this.#usage.tokens !== null;
  }
  /** The first token is there; later calls change nothing. */
  firstToken() {
    this.#firstToken ??= now() - this.#started;
  }
  /**
   * A tool that was called on the way: how long it took and how it failed, if it did. With a function instead of a
   * time it is run, measured, and what it returns is returned.
   */
  tool(name, work, error) {
    const add = (ms, failure) => void this.#tools.push({ name, ms, error: failure });
    if (typeof work !== "function") return add(work, error);
    const started = now();
    return observed(
      this.#client,
      () => work(),
      () => add(now() - started),
      (failure) => add(now() - started, errorName(failure))
    );
  }
  /** So far it has come: where it ends without an error, what comes after this moment is not counted. */
  mark() {
    this.#latency = now() - this.#started;
  }
  /** Records the event, once. `error`: what failed, an error or a short code. */
  end(error) {
    if (this.#ended) return;
    this.#ended = true;
    const latency = (error === void 0 ? this.#latency : void 0) ?? now() - this.#started;
    quiet(this.#client, "end", () => {
      if (error !== void 0 && error !== null) {
        this.error ??= typeof error === "string" ? error : errorName(error);
      }
      const { content, tokensIn, tokensOut, tokensCached, tokensReasoning, model, version, eventId } = this;
      const more = { model, version, eventId, error: this.error, tokensCached, tokensReasoning };
      more.ttftMs = this.#firstToken;
      more.tools = this.#tools;
      this.#client.logEvent(this.#session, this.#eventType, content, latency, tokensIn, tokensOut, more);
    });
  }
  /** No event: nothing was worth one. */
  cancel() {
    this.#ended = true;
  }
  /** No event, counted as dropped. */
  drop(reason) {
    if (!this.#ended) drop(this.#client, this.eventId, reason);
    this.#ended = true;
  }
  /** Runs `work` to its end: that of a promise, or of what it yields. Returns what it returns. */
  run(work) {
    return observed(
      this.#client,
      () => work(this),
      (result) => {
        if (!yields(result)) return this.end();
        watch(this.#client, result, {
          item: () => this.firstToken(),
          end: () => this.end(),
          fail: (error) => this.end(error)
        });
      },
      (error) => this.end(error)
    );
  }
};
if (Symbol.dispose) Measure.prototype[Symbol.dispose] = Measure.prototype.end;
function observed(client, work, done, failed) {
  const hear = (told, value) => void quiet(client, "measure", () => told(value));
  let result;
  try {
    result = work();
  } catch (error) {
    hear(failed, error);
    throw error;
  }
  if (typeof result?.then !== "function") {
    hear(done, result);
    return result;
  }
  if (result instanceof Promise) {
    result.then(
      (value) => hear(done, value),
      (error) => hear(failed, error)
    );
    return result;
  }
  return result.then(
    (value) => {
      hear(done, value);
      return value;
    },
    (error) => {
      hear(failed, error);
      throw error;
    }
  );
}

// src/delivery.js
var REPEAT_HORIZON_MS = 20 * 3600 * 1e3;
var SESSION_NOT_FOUND = "urn:otel-bridge:sesion-no-encontrada";
var Delivery = class {
  #door;
  #pace;
  #tally;
  constructor(door, pace, tally) {
    this.#door = door;
    this.#pace = pace;
    this.#tally = tally;
  }
  async deliver(records) {
    const fresh = records.filter((record2) => {
      if (record2.firstTry === null || now() - record2.firstTry <= REPEAT_HORIZON_MS) return true;
      this.#tally.settleDrop(record2, "expired");
      return false;
    });
    const of = (...kinds) => fresh.filter((record2) => kinds.includes(record2.kind));
    const sessions = await this.#sendEach(of(SESSION), (record2) => this.#sendSession(record2));
    if (sessions.length) return sessions.concat(of(EVENT), of(RATING, END));
    const ready = of(EVENT).filter((record2) => {
      if (!this.#tally.isRefused(record2.session)) return true;
      this.#tally.settleDrop(record2, "session_refused", this.#tally.whyRefused(record2.session));
      return false;
    });
    const events = await this.#sendEvents(ready);
    const about = of(RATING, END);
    return events.length ? events.concat(about) : this.#sendEach(about, (record2) => this.#sendAbout(record2));
  }
  /** What is left from the first on that was not settled. */
  async #sendEach(records, send) {
    for (let i = 0; i < records.length; i++) {
      records[i].firstTry ??= now();
      if (!await send(records[i])) return records.slice(i);
    }
    return [];
  }
  /** Whether it is settled. */
  async #sendSession(record2) {
    let reply = await this.#door.post(pathOf(record2), record2.text);
    if (ok(reply) && reply.document?.id !== record2.id) reply = strange(reply);
    if (transient(reply.status)) return this.#wait(reply);
    if (reply.status >= 400 && !(reply.status === 409 && record2.shared)) {
      this.#tally.refuse(record2.session, problemOf(reply));
      this.#tally.settleDrop(record2, "refused", problemOf(reply));
    } else {
      this.#settleSent(1);
    }
    return true;
  }
  /** A rating, or the end of a session. Whether it is settled. */
  async #sendAbout(record2) {
    if (record2.kind === END && this.#tally.isRefused(record2.session)) {
      this.#tally.settleDrop(record2, "session_refused", this.#tally.whyRefused(record2.session));
      return true;
    }
    let reply = await this.#door.post(pathOf(record2), record2.text);
    if (ok(reply) && reply.status !== 204 && reply.document === null) reply = strange(reply);
    if (transient(reply.status)) return this.#wait(reply);
    if (reply.status >= 400) this.#tally.settleDrop(record2, "refused", problemOf(reply));
    else this.#settleSent(1);
    return true;
  }
  async #sendEvents(events) {
    if (events.length === 0) return [];
    for (const record2 of events) record2.firstTry ??= now();
    const reply = await this.#door.post("/events", `[${events.map((record2) => record2.text).join(",")}]`);
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
      const half = Math.floor(events.length / 2);
      const again = await this.#sendEvents(events.slice(0, half));
      const rest = events.slice(half);
      return again.concat(again.length ? rest : await this.#sendEvents(rest));
    }
    for (const record2 of events) this.#refuse(record2, problemOf(reply));
    return [];
  }
  #settleBatch(events, results, reply) {
    const again = [];
    let cause = null;
    events.forEach((record2, i) => {
      const status = Number.isInteger(results[i]?.estado) ? results[i].estado : 0;
      const problem = results[i]?.error ?? { status };
      if (status >= 200 && status < 300) this.#settleSent(1);
      else if (!transient(status)) this.#refuse(record2, problem);
      else if (again.push(record2)) cause ??= causeOf(problem);
    });
    if (again.length) this.#pace.backOff({ status: 429, retryAfterMs: reply.retryAfterMs }, cause);
    else this.#pace.widen();
    return again;
  }
  #refuse(record2, problem) {
    if (problem.type === SESSION_NOT_FOUND) this.#tally.lose(record2.session);
    this.#tally.settleDrop(record2, "refused", problem);
  }
  #settleSent(count) {
    this.#tally.settleSent(count);
    this.#pace.good();
  }
  #wait(reply) {
    this.#pace.backOff(reply, causeOf(problemOf(reply)));
    return false;
  }
};

// src/pace.js
var BACKOFF_MS = [500, 3e4];
var MAX_RETRY_AFTER_MS = 3600 * 1e3;
var Pace = class {
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
};

// src/outbox.js
var MAX_BATCH_BYTES = 4 << 20;
var LONGEST_TIMER_MS = 2 ** 31 - 1;
var Outbox = class {
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
  #waiters = /* @__PURE__ */ new Set();
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
  put(record2) {
    const { kind, session } = record2;
    let reason = null;
    let problem = null;
    if (this.#door.url === null) reason = "disabled";
    else if (this.#closed) reason = "closed";
    else if (session !== null && this.#tally.isRefused(session)) {
      reason = "session_refused";
      problem = this.#tally.whyRefused(session);
    } else if (this.pending >= this.#options.maxQueue || this.#bytes + this.#flyingBytes + record2.bytes > this.#options.maxQueueBytes) {
      reason = "queue_full";
      if (kind === SESSION) this.#tally.refuse(session);
    }
    if (reason !== null) {
      this.#tally.drop([record2], reason, problem);
      return;
    }
    this.#queue.push(record2);
    this.#bytes += record2.bytes;
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
      const end = setTimeout(waiter, timeoutMs + 1);
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
    if (this.#sending) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#queue.length === 0) return;
    let { due } = this.#pace;
    if (now() >= this.#hurryUntil && this.#queue.length < this.#pace.limit) {
      due = Math.max(due, this.#queue[0].queued + this.#options.flushIntervalMs);
    }
    this.#timer = setTimeout(() => this.#work(), Math.min(LONGEST_TIMER_MS, Math.max(0, due - now())));
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
    for (const record2 of this.#queue) {
      size += record2.bytes + 1;
      if (count === this.#pace.limit || count && size > MAX_BATCH_BYTES) break;
      count += 1;
    }
    this.#flying = this.#queue.splice(0, count);
    this.#flyingBytes = sizeOf(this.#flying);
    this.#bytes -= this.#flyingBytes;
  }
};
var sizeOf = (records) => records.reduce((sum, record2) => sum + record2.bytes, 0);

// src/sessions.js
var MAX_SESSIONS = 1e4;
var IDLE_MS = 30 * 6e4;
var ASK_AGAIN_MS = 6e4;
var Sessions = class {
  #isGone;
  #byKey = /* @__PURE__ */ new Map();
  #byObject = /* @__PURE__ */ new WeakMap();
  #ended = /* @__PURE__ */ new Set();
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
    const known2 = this.#kept(this.#byObject.get(owner), open);
    this.#byObject.set(owner, known2);
    return known2.id;
  }
  /** What comes after its end begins another one, where the session is not given by a conversation. */
  forget(id) {
    for (const [key, known2] of this.#byKey) if (known2.id === id) this.#byKey.delete(key);
    this.#ended.add(id);
    if (this.#ended.size > MAX_SESSIONS) this.#ended.delete(this.#ended.values().next().value);
  }
  #ofKey(key, open, idle = Infinity) {
    const found = this.#byKey.get(key);
    const known2 = this.#kept(found && now() - found.used <= idle ? found : void 0, open);
    this.#byKey.delete(key);
    this.#byKey.set(key, known2);
    if (this.#byKey.size > MAX_SESSIONS) this.#byKey.delete(this.#byKey.keys().next().value);
    return known2.id;
  }
  #kept(known2, open) {
    const at = now();
    if (known2 === void 0 || this.#ended.delete(known2.id)) return { id: open(), opened: at, used: at };
    known2.used = at;
    if (at - known2.opened > ASK_AGAIN_MS && this.#isGone(known2.id)) {
      open(known2.id);
      known2.opened = at;
    }
    return known2;
  }
};

// src/tally.js
var MAX_REFUSED_SESSIONS = 1e4;
var HINTS = {
  no_usage: "the model's answer says no usage: ask for it (stream_options.include_usage) or give `count`"
};
var Tally = class {
  #log;
  #onDrop;
  #dropped = {};
  #refused = /* @__PURE__ */ new Map();
  #lost = /* @__PURE__ */ new Map();
  sent = 0;
  retries = 0;
  /** Records that were in flight and are no more: delivered or dropped. */
  settled = 0;
  constructor(onDrop, log) {
    this.#onDrop = onDrop;
    this.#log = log;
  }
  get dropped() {
    return { ...this.#dropped };
  }
  settleSent(count) {
    this.sent += count;
    this.settled += count;
  }
  settleDrop(record2, reason, problem = null) {
    this.settled += 1;
    this.drop([record2], reason, problem);
  }
  drop(records, reason, problem = null) {
    for (const { id, kind } of records) {
      this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1;
      if (reason !== "disabled" && reason !== "closed") {
        const cause = causeOf(problem);
        const type = problem?.type ? ` (${String(problem.type).slice(0, 100)})` : "";
        const why = cause ?? HINTS[reason];
        this.#log.note(reason, `dropped ${kind} ${id}${why ? `: ${why}${type}` : ""}`, cause ?? void 0);
      }
      if (this.#onDrop) this.#log.quiet("onDrop", () => this.#onDrop(id, reason, problem));
    }
  }
  /** The bridge does not have this session and will not: its events need not be sent. */
  refuse(session, problem = null) {
    remember(this.#refused, session, problem);
  }
  isRefused(session) {
    return this.#refused.has(session);
  }
  whyRefused(session) {
    return this.#refused.get(session) ?? null;
  }
  /** The bridge had this session once, maybe, and has it no more. */
  lose(session) {
    remember(this.#lost, session, null);
  }
  /** It is offered once more. */
  forgive(session) {
    this.#refused.delete(session);
    this.#lost.delete(session);
  }
  isGone(session) {
    return this.#refused.has(session) || this.#lost.has(session);
  }
};
function remember(sessions, session, problem) {
  sessions.set(session, problem);
  if (sessions.size > MAX_REFUSED_SESSIONS) sessions.delete(sessions.keys().next().value);
}

// src/client.js
var ANONYMOUS = "anonimo";
var DEFAULTS = {
  apiKey: void 0,
  flushIntervalMs: 1e3,
  batchSize: 200,
  maxQueue: 1e4,
  maxQueueBytes: 32 << 20,
  timeoutMs: 1e4,
  exitTimeoutMs: 5e3,
  gzip: false,
  onDrop: void 0
};
var BridgeClient = class {
  #options;
  #log;
  #tally;
  #outbox;
  #sessions;
  #forget = () => {
  };
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
    const outbox = this.#outbox = new Outbox(this.#options, door, this.#tally, this.#log);
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
  sessionFor(userId = ANONYMOUS, conversation = void 0) {
    return this.#opened("sessionFor", userId, (open) => {
      if (conversation === void 0 || conversation === null) return this.#sessions.ofUser(String(userId ?? ANONYMOUS), open);
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
      this.#open(id, userId ?? ANONYMOUS, void 0, shared);
      return id;
    };
    return this.#log.quiet(where, () => find(open)) ?? newUuid();
  }
  #open(id, userId, timestamp, shared = false) {
    const fields = {
      id,
      gpt_id: this.gptId,
      usuario_id: String(userId),
      timestamp_inicio: timestamp ?? timestampNow()
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
      (error) => q.end(error)
    );
  }
  /** What somebody thought of an answer: from -1 (bad) to 1 (good), and why. */
  rate(eventId, valor, comentario) {
    this.#log.quiet("rate", () => {
      const id = String(eventId ?? "");
      const fields = { valor: typeof valor === "number" ? valor : NaN };
      if (comentario !== void 0 && comentario !== null) fields.comentario = String(comentario);
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
  async flush(timeoutMs = 1e4) {
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
  get [/* @__PURE__ */ Symbol.for("otel-bridge-client")]() {
    return {
      note: (where, error) => this.#log.note("internal", `${where}: ${error?.name ?? error}`),
      drop: (id, reason) => this.#tally.drop([{ id, kind: EVENT }], reason)
    };
  }
};

// src/subject.js
function optionOf(client, options, name, args) {
  const option = options?.[name];
  return typeof option === "function" ? quiet(client, name, () => option(...args)) : option;
}
function subjectOf(client, eventType, options, args) {
  const value = (name) => optionOf(client, options, name, args);
  const session = value("session") ?? quiet(client, "session", () => client.sessionFor(value("user"), value("conversation")));
  return {
    session,
    eventType: optionOf(client, { eventType }, "eventType", args),
    content: value("content") ?? "",
    model: value("model"),
    version: value("version"),
    eventId: value("eventId")
  };
}
function takeTokens(measure, counted) {
  if (counted === void 0 || counted === null) return false;
  const { tokensIn, tokensOut, tokensCached, tokensReasoning } = counted;
  measure.tokens(...Array.isArray(counted) ? counted : [tokensIn, tokensOut, tokensCached, tokensReasoning]);
  return true;
}

// src/toolcall.js
var ToolCall = class {
  constructor(request, extra) {
    this.request = request;
    this.extra = extra;
  }
  get name() {
    return text2(this.request?.params?.name) ?? "";
  }
  /** The caller's data: nothing of them is sent unless an option says so. */
  get arguments() {
    return this.request?.params?.arguments ?? {};
  }
  get meta() {
    return this.extra?._meta ?? this.extra?.mcpReq?._meta ?? this.request?.params?._meta ?? {};
  }
  /** ChatGPT's `openai/session`. */
  get conversation() {
    return text2(this.meta["openai/session"]);
  }
  /**
   * ChatGPT's `openai/subject`, an anonymous id of the user, as the bridge's own `/mcp` names it: a user of both is
   * one.
   */
  get subject() {
    const subject = text2(this.meta["openai/subject"]);
    return subject && `openai-subject:${subject}`;
  }
  get mcpSession() {
    return text2(this.extra?.sessionId) ?? text2(header(this.#http?.headers, "mcp-session-id"));
  }
  get overHttp() {
    return this.#http !== void 0;
  }
  get #http() {
    return this.extra?.requestInfo ?? this.extra?.http?.req;
  }
};
function header(headers, name) {
  const found = typeof headers?.get === "function" ? headers.get(name) : headers?.[name];
  return Array.isArray(found) ? found[0] : found;
}
var text2 = (value) => typeof value === "string" && value ? value : void 0;

// src/mcp.js
var CALL = "tools/call";
var FAILED = "error_herramienta";
var UNKNOWN = "herramienta_desconocida";
var MAX_TYPE_CHARS = 64;
var measuredBy = /* @__PURE__ */ new WeakMap();
var measures = /* @__PURE__ */ new WeakMap();
function instrument(server, client, options = {}) {
  quiet(client, "instrument", () => {
    const low = server?.server?.setRequestHandler ? server.server : server;
    const handlers = low?._requestHandlers;
    if (!(handlers instanceof Map) || typeof low.setRequestHandler !== "function") {
      note(client, "instrument", "this is no server of the official SDK: its tools are not measured");
      return;
    }
    const clients = measuredBy.get(low) ?? /* @__PURE__ */ new WeakSet();
    measuredBy.set(low, clients);
    if (clients.has(client)) return;
    clients.add(client);
    const tools = new Tools(server, low, client, options ?? {});
    const ours = /* @__PURE__ */ new WeakSet();
    const wrap = () => {
      const found = handlers.get(CALL);
      if (found === void 0 || ours.has(found)) return;
      const measured = tools.measured(found);
      ours.add(measured);
      handlers.set(CALL, measured);
    };
    wrap();
    const set = low.setRequestHandler;
    low.setRequestHandler = function(...args) {
      const result = set.apply(this, args);
      quiet(client, "instrument", wrap);
      return result;
    };
  });
  return server;
}
function current(extra) {
  return extra && typeof extra === "object" ? measures.get(extra) : void 0;
}
var Tools = class {
  #server;
  #low;
  #client;
  #options;
  #thrown = /* @__PURE__ */ new WeakMap();
  constructor(server, low, client, options) {
    this.#server = server;
    this.#low = low;
    this.#client = client;
    this.#options = options;
    this.#hearOfThrown();
  }
  measured(handler) {
    const tools = this;
    return function(request, extra) {
      const call = quiet(tools.#client, CALL, () => new ToolCall(request, extra));
      const measure = quiet(tools.#client, CALL, () => tools.#begin(call));
      return observed(
        tools.#client,
        () => handler.call(this, request, extra),
        (result) => tools.#end(measure, call, result, result?.isError ? tools.#classOf(call) : void 0),
        (error) => tools.#end(measure, call, void 0, tools.#classOf(call, error))
      );
    };
  }
  /** `McpServer` makes a result of what a tool throws; here its name is still known. */
  #hearOfThrown() {
    const { executeToolHandler: execute } = this.#server;
    if (typeof execute !== "function") return;
    const thrown = this.#thrown;
    const client = this.#client;
    this.#server.executeToolHandler = function(tool, args, extra) {
      return observed(
        client,
        () => execute.call(this, tool, args, extra),
        () => {
        },
        (error) => thrown.set(extra, error)
      );
    };
  }
  #begin(call) {
    const value = (name) => optionOf(this.#client, this.#options, name, [call]);
    const measure = new Measure(this.#client, {
      session: value("session") ?? this.#sessionOf(call, value("user") ?? call.subject, value("conversation") ?? call.conversation),
      eventType: this.#typeOf(call),
      model: value("model"),
      version: value("version")
    });
    if (call.extra && typeof call.extra === "object") measures.set(call.extra, measure);
    return measure;
  }
  #end(measure, call, result, error) {
    const value = (name) => optionOf(this.#client, this.#options, name, [call, result]);
    measure.content ||= value("content") ?? "";
    takeTokens(measure, value("tokens"));
    measure.end(error);
  }
  /** The conversation's, else the MCP session's, else the connection's; of HTTP that has neither, the user's. */
  #sessionOf(call, user, conversation) {
    const client = this.#client;
    if (conversation) return client.sessionFor(user, conversation);
    if (call.mcpSession) return client.sessionFor(user, `mcp-session:${call.mcpSession}`);
    return call.overHttp ? client.sessionFor(user) : client.sessionOf(this.#low.transport ?? this.#low, user);
  }
  #typeOf(call) {
    const { eventType } = this.#options;
    const mapped = eventType && typeof eventType === "object" ? Object.hasOwn(eventType, call.name) && eventType[call.name] : optionOf(this.#client, this.#options, "eventType", [call]);
    return String(mapped || call.name || UNKNOWN).slice(0, MAX_TYPE_CHARS);
  }
  #classOf(call, error = call?.extra && this.#thrown.get(call.extra)) {
    const tools = this.#server._registeredTools;
    if (tools && typeof tools === "object" && !Object.hasOwn(tools, call?.name)) return UNKNOWN;
    return error === void 0 || error === null ? FAILED : errorName(error);
  }
};

// src/medir.js
function medir(client, eventType, options = {}, work = void 0) {
  if (work === void 0) return begin(client, eventType, options, []);
  return function measured(...args) {
    const measure = begin(client, eventType, options, args);
    return measure.run(
      () => observed(
        client,
        () => work.apply(this, args),
        (result) => {
          const { tokens } = options ?? {};
          if (typeof tokens === "function") takeTokens(measure, tokens(result, ...args));
        },
        () => {
        }
      )
    );
  };
}
function begin(client, eventType, options, args) {
  return new Measure(client, quiet(client, "medir", () => subjectOf(client, eventType, options, args)));
}

// src/respuesta.js
function medirRespuesta(client, eventType, options, call) {
  return function measured(...args) {
    const measure = new Measure(client, quiet(client, "medirRespuesta", () => subjectOf(client, eventType, options, args)));
    const count = options?.count;
    const reading = new Reading(client, measure, typeof count === "function" && ((text3) => count(text3, ...args)));
    let answer;
    try {
      answer = call.apply(this, args);
    } catch (error) {
      reading.end(error);
      throw error;
    }
    if (typeof answer?.then === "function" && typeof answer.parse === "function" && answer.asResponse) {
      quiet(client, "medirRespuesta", () => reading.promised(answer));
      return answer;
    }
    return observed(
      client,
      () => answer,
      (found) => reading.answered(found),
      (error) => reading.end(error)
    );
  };
}
var Reading = class {
  #client;
  #measure;
  #count;
  #text = [];
  constructor(client, measure, count) {
    this.#client = client;
    this.#measure = measure;
    this.#count = count;
  }
  /** A promise of OpenAI's package: its body is read by whom it is waited for, once. */
  promised(promise) {
    const { parse: parse2, asResponse } = promise;
    const hear = (told) => quiet(this.#client, "medirRespuesta", told);
    let parsed = null;
    promise.parse = () => {
      if (parsed === null) {
        parsed = parse2.call(promise);
        parsed.then(
          (answer) => hear(() => this.answered(answer)),
          (error) => hear(() => this.end(error))
        );
      }
      return parsed;
    };
    promise.asResponse = () => {
      const response = asResponse.call(promise);
      response.then(
        () => parsed ?? hear(() => this.end()),
        (error) => parsed ?? hear(() => this.end(error))
      );
      return response;
    };
  }
  /** A whole answer, or a stream of one. */
  answered(answer) {
    const hooks = {
      item: (part) => quiet(this.#client, "stream", () => this.part(part)),
      end: () => this.end(),
      fail: (error) => this.end(error)
    };
    if (typeof answer?.on === "function" && typeof answer.done === "function") {
      quiet(this.#client, "stream", () => listen(answer, hooks));
    } else if (yields(answer)) {
      watch(this.#client, answer, hooks);
    } else {
      this.#measure.read(answer);
      quiet(this.#client, "text", () => this.#text.push(textOf(answer)));
      this.end();
    }
  }
  /** An event of Responses, or a chunk of Chat Completions. */
  part(part) {
    const delta = deltaOf(part);
    if (delta !== null) this.#measure.firstToken();
    if (typeof delta === "string" && this.#count) this.#text.push(delta);
    this.#measure.read(part?.response ?? part, "this stream");
    if (part?.type === "error") this.#measure.error ??= part.code || "error";
    this.#measure.mark();
  }
  end(error) {
    const measure = this.#measure;
    let known2 = measure.usageKnown || error !== void 0 || measure.error !== void 0;
    if (!measure.usageKnown && this.#count) {
      quiet(this.#client, "count", () => {
        known2 = takeTokens(measure, this.#count(this.#text.join(""))) || known2;
      });
    }
    if (known2) measure.end(error);
    else measure.drop("no_usage");
  }
};
function listen(stream, { item, end, fail }) {
  for (const name of ["event", "chunk", "chatCompletion"]) stream.on(name, item);
  stream.on("end", () => void stream.done().then(end, (error) => stream.aborted ? end() : fail(error)));
}
function deltaOf(part) {
  if (typeof part?.type === "string") {
    if (!part.type.endsWith(".delta")) return null;
    return part.type === "response.output_text.delta" ? part.delta : void 0;
  }
  for (const { delta } of part?.choices ?? []) {
    if (delta?.content) return delta.content;
    const { refusal, tool_calls: calls, function_call: call, reasoning_content: thought, reasoning, audio } = delta ?? {};
    if (refusal || calls?.length || call || thought || reasoning || audio) return void 0;
  }
  return null;
}
function textOf(answer) {
  return answer?.output_text ?? answer?.choices?.[0]?.message?.content ?? "";
}
