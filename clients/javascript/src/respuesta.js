import { quiet } from "./inside.js";
import { Measure, observed } from "./measure.js";
import { subjectOf, takeTokens } from "./subject.js";
import { watch, yields } from "./watch.js";

/**
 * Wraps a function that calls a model: by OpenAI's package (Responses, Chat Completions), by that of a compatible API,
 * or by one of yours that returns what they return. Usage, model, error and time to first token are read off the answer
 * or the stream. What comes back is the very object; a stream is taken as lazily as its caller takes it, and recorded
 * when it is over or left.
 *
 * `count(text, ...args)` tells tokens where the answer does not; without it such an event is dropped as `no_usage`, for
 * tokens are never made up. A call that fails is recorded whatever is known: with the tokens that were told, or none.
 */
export function medirRespuesta(client, eventType, options, call) {
  return function measured(...args) {
    const measure = new Measure(client, quiet(client, "medirRespuesta", () => subjectOf(client, eventType, options, args)));
    const count = options?.count;
    const reading = new Reading(client, measure, typeof count === "function" && ((text) => count(text, ...args)));
    let answer;
    try {
      answer = call.apply(this, args);
    } catch (error) {
      reading.end(error);
      throw error;
    }
    // A promise of OpenAI's package reads the body when it is waited for: that is its caller's to begin.
    if (typeof answer?.then === "function" && typeof answer.parse === "function" && answer.asResponse) {
      quiet(client, "medirRespuesta", () => reading.promised(answer));
      return answer;
    }
    return observed(
      client,
      () => answer,
      (found) => reading.answered(found),
      (error) => reading.end(error),
    );
  };
}

class Reading {
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
    const { parse, asResponse } = promise;
    const hear = (told) => quiet(this.#client, "medirRespuesta", told);
    let parsed = null;
    promise.parse = () => {
      if (parsed === null) {
        parsed = parse.call(promise);
        parsed.then(
          (answer) => hear(() => this.answered(answer)),
          (error) => hear(() => this.end(error)),
        );
      }
      return parsed;
    };
    promise.asResponse = () => {
      const response = asResponse.call(promise);
      response.then(
        () => parsed ?? hear(() => this.end()),
        (error) => parsed ?? hear(() => this.end(error)),
      );
      return response;
    };
  }

  /** A whole answer, or a stream of one. */
  answered(answer) {
    const hooks = {
      item: (part) => quiet(this.#client, "stream", () => this.part(part)),
      end: () => this.end(),
      fail: (error) => this.end(error),
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
    // A consumer that thinks before it leaves, or holds a stream open, is not the model's time.
    this.#measure.mark();
  }

  end(error) {
    const measure = this.#measure;
    let known = measure.usageKnown || error !== undefined || measure.error !== undefined;
    if (!measure.usageKnown && this.#count) {
      quiet(this.#client, "count", () => {
        known = takeTokens(measure, this.#count(this.#text.join(""))) || known;
      });
    }
    if (known) measure.end(error);
    else measure.drop("no_usage");
  }
}

/** The helper streams of OpenAI's package, which run by themselves. Their own listeners hear of errors as before. */
function listen(stream, { item, end, fail }) {
  for (const name of ["event", "chunk", "chatCompletion"]) stream.on(name, item);
  stream.on("end", () => void stream.done().then(end, (error) => (stream.aborted ? end() : fail(error))));
}

/** What a part adds to the answer: its text, `undefined` for what is no text (a tool's call), null for nothing. */
function deltaOf(part) {
  if (typeof part?.type === "string") {
    if (!part.type.endsWith(".delta")) return null;
    return part.type === "response.output_text.delta" ? part.delta : undefined;
  }
  for (const { delta } of part?.choices ?? []) {
    if (delta?.content) return delta.content;
    const { refusal, tool_calls: calls, function_call: call, reasoning_content: thought, reasoning, audio } = delta ?? {};
    if (refusal || calls?.length || call || thought || reasoning || audio) return undefined;
  }
  return null;
}

function textOf(answer) {
  return answer?.output_text ?? answer?.choices?.[0]?.message?.content ?? "";
}
