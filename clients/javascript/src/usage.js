/** What answers of a model say of themselves, in the form of OpenAI's Responses and Chat Completions. */

/** Sums the usage of several answers; what one answer says twice (a stream's chunks) counts once, as said last. */
export class Usage {
  #byAnswer = new Map();
  #unnamed = 0;

  /** Takes an answer, or the part of one; `unnamed`: which it is where it has no id. */
  read(answer, unnamed = (this.#unnamed += 1)) {
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
}

function tokensOf(usage) {
  const tokensIn = usage?.input_tokens ?? usage?.prompt_tokens;
  // Embeddings have no output and do not say so.
  const tokensOut = usage?.output_tokens ?? usage?.completion_tokens ?? usage?.total_tokens - tokensIn;
  if (!isCount(tokensIn) || !isCount(tokensOut)) return null;
  const cached =
    (usage.input_tokens_details ?? usage.prompt_tokens_details)?.cached_tokens ?? usage.prompt_cache_hit_tokens;
  const reasoning = (usage.output_tokens_details ?? usage.completion_tokens_details)?.reasoning_tokens;
  const tokens = { tokensIn, tokensOut };
  // Some compatible APIs count them beside the total instead of within it; the bridge's fields are parts of it.
  if (isCount(cached) && cached <= tokensIn) tokens.tokensCached = cached;
  if (isCount(reasoning) && reasoning <= tokensOut) tokens.tokensReasoning = reasoning;
  return tokens;
}

function failureOf(answer) {
  const { status, error } = answer ?? {};
  if (status === "failed" || status === "cancelled") return text(error?.code) ?? status;
  return error ? (text(error.code) ?? text(error.type) ?? "error") : undefined;
}

const isCount = (value) => Number.isInteger(value) && value >= 0;
const text = (value) => (typeof value === "string" && value ? value : undefined);
