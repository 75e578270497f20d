import { drop, quiet } from "./inside.js";
import { newUuid } from "./ids.js";
import { now } from "./platform.js";
import { errorName } from "./record.js";
import { Usage } from "./usage.js";
import { watch, yields } from "./watch.js";

/** A measurement under way, which becomes one event: fill in what is known when the answer is there. */
export class Measure {
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
    /** The event's id, for `rate`. */
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
      (failure) => add(now() - started, errorName(failure)),
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
    const latency = (error === undefined ? this.#latency : undefined) ?? now() - this.#started;
    quiet(this.#client, "end", () => {
      if (error !== undefined && error !== null) {
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
          fail: (error) => this.end(error),
        });
      },
      (error) => this.end(error),
    );
  }
}

if (Symbol.dispose) Measure.prototype[Symbol.dispose] = Measure.prototype.end;

/** What `work` returns or throws, unchanged; `done` and `failed` hear of it first, and what they throw is nobody's. */
export function observed(client, work, done, failed) {
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
      (error) => hear(failed, error),
    );
    return result;
  }
  // Something that only begins when it is waited for, such as a query: waited for twice it would run twice.
  return result.then(
    (value) => {
      hear(done, value);
      return value;
    },
    (error) => {
      hear(failed, error);
      throw error;
    },
  );
}
