// The `openai` package against a stand-in for the model's HTTP API, measured with the packed client. Reads a command a
// line, answers a line.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";
import { BridgeClient, medir, medirRespuesta } from "otel-bridge-client";

const WORDS = ["Empieza ", "por un ", "Dockerfile."];
const responsesUsage = {
  input_tokens: 25,
  input_tokens_details: { cached_tokens: 20 },
  output_tokens: 150,
  output_tokens_details: { reasoning_tokens: 64 },
  total_tokens: 175,
};
const chatUsage = {
  prompt_tokens: 25,
  prompt_tokens_details: { cached_tokens: 20 },
  completion_tokens: 150,
  completion_tokens_details: { reasoning_tokens: 64 },
  total_tokens: 175,
};
/** As some compatible APIs count: parts that are no part of the whole. */
const beside = { ...chatUsage, prompt_tokens: 5, completion_tokens: 15 };
const response = (more) => ({ id: "resp_1", object: "response", model: "gpt-6.2-sol", output: [], ...more });
const output = [{ type: "message", id: "m", role: "assistant", content: [{ type: "output_text", text: WORDS.join(""), annotations: [] }] }];

/** What the stand-in does: said by the request's `metadata`, as texts. */
async function serve(request, reply) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const asked = JSON.parse(Buffer.concat(chunks));
  const { mode = "whole", first = "0", pause = "0", id = "1" } = asked.metadata ?? {};
  const json = (status, body) => {
    reply.writeHead(status, { "Content-Type": "application/json" });
    reply.end(JSON.stringify(body));
  };
  if (mode === "limit") return json(429, { error: { message: "slow down", code: "rate_limit_exceeded", type: "limit" } });
  const chat = request.url.endsWith("/chat/completions");
  if (!asked.stream) {
    if (mode === "failed") return json(200, response({ status: "failed", error: { code: "server_error", message: "x" }, usage: null }));
    const usage = { "no usage": undefined, beside, whole: chat ? chatUsage : responsesUsage }[mode];
    if (!chat) return json(200, response({ status: "completed", output, usage }));
    const choices = [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: WORDS.join("") } }];
    return json(200, { id: `chat_${id}`, object: "chat.completion", model: "gpt-6.2-sol", choices, usage });
  }
  reply.writeHead(200, { "Content-Type": "text/event-stream" });
  const send = (event) => reply.write(`${event.type ? `event: ${event.type}\n` : ""}data: ${JSON.stringify(event)}\n\n`);
  const delta = (text, more = {}) =>
    chat
      ? { id: "chat_1", object: "chat.completion.chunk", model: "gpt-6.2-sol", choices: [{ index: 0, delta: { content: text } }], ...more }
      : { type: "response.output_text.delta", item_id: "m", output_index: 0, content_index: 0, delta: text };
  if (chat) send({ ...delta(""), choices: [{ index: 0, delta: { role: "assistant", content: "" } }] });
  else {
    send({ type: "response.created", response: response({ status: "in_progress", usage: null }) });
    send({ type: "response.output_item.added", output_index: 0, item: { ...output[0], content: [] } });
    send({ type: "response.content_part.added", item_id: "m", output_index: 0, content_index: 0, part: { type: "output_text", text: "" } });
  }
  await sleep(Number(first));
  for (const [i, word] of WORDS.entries()) {
    if (mode === "broken" && i === 2) return reply.destroy();
    if (mode === "error" && i === 2) {
      send({ error: { message: "gone wrong", code: "server_error" } });
      return reply.end();
    }
    send(delta(word));
    await sleep(Number(pause));
  }
  if (chat) {
    send({ ...delta(""), choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
    if (asked.stream_options?.include_usage) send({ ...delta(""), choices: [], usage: chatUsage });
    reply.write("data: [DONE]\n\n");
  } else send({ type: "response.completed", response: response({ status: "completed", output, usage: mode === "no usage" ? null : responsesUsage }) });
  return reply.end();
}

const http = createServer((request, reply) => void serve(request, reply));
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
const openai = new OpenAI({ apiKey: "x", baseURL: `http://127.0.0.1:${http.address().port}/v1`, maxRetries: 0 });

let client;
let session;
const drops = [];

/** The builder's own function, measured: what it is called with is what the stand-in is asked for. */
const ask = (options) =>
  medirRespuesta(client, "consulta", { session, ...options }, ({ api, helper, stream, include, wait, ...metadata }) => {
    const more = { model: "gpt-6.2-sol", metadata, ...(stream && !helper ? { stream } : {}) };
    if (api === "chat") {
      const messages = [{ role: "user", content: "¿?" }];
      const usage = include ? { stream_options: { include_usage: true } } : {};
      return helper ? openai.chat.completions.stream({ ...more, messages, ...usage }) : openai.chat.completions.create({ ...more, messages, ...usage });
    }
    if (helper) return openai.responses.stream({ ...more, input: "¿?" });
    const promise = openai.responses.create({ ...more, input: "¿?" });
    return wait ? (async () => await promise)() : promise;
  });

async function take(stream, { leave, think = 0 }) {
  let text = "";
  for await (const part of stream) {
    text += part.type === "response.output_text.delta" ? part.delta : (part.choices?.[0]?.delta?.content ?? "");
    if (leave && text) break;
    await sleep(think);
  }
  return text;
}

const does = {
  new({ url }) {
    drops.length = 0;
    client = new BridgeClient(url, "devops-expert", { flushIntervalMs: 20, logger: null, onDrop: (_, reason) => drops.push(reason) });
    session = client.createSession("usuario123");
  },
  async ask({ counts, leave, think, way, ...request }) {
    const count = counts && ((text, request) => [counts, request.api ? text.length : NaN]);
    const promise = ask(count ? { count } : {})(request);
    try {
      if (request.helper) {
        if (way === "final") {
          await (request.api === "chat" ? promise.finalChatCompletion() : promise.finalResponse());
          return promise.constructor.name;
        }
        return await take(promise, { leave, think });
      }
      if (way === "asResponse") return (await (await promise.asResponse()).json()).id;
      if (way === "withResponse") {
        const { data, response: raw } = await promise.withResponse();
        return `${raw.status} ${data.id}`;
      }
      const answer = await promise;
      if (!request.stream) return answer.output_text ?? answer.choices?.[0]?.message.content ?? answer.status;
      if (way === "tee") {
        const [left, right] = answer.tee();
        return [await take(left, {}), await take(right, {})];
      }
      if (way === "readable") return (await new Response(answer.toReadableStream()).text()).length > 0;
      if (way === "controller") answer.controller.abort();
      return await take(answer, { leave, think });
    } catch (error) {
      return error.constructor.name;
    }
  },
  /** How long it took for its consumer. */
  async consumer({ think, ...request }) {
    const started = performance.now();
    await take(await ask({})(request), { think });
    return performance.now() - started;
  },
  /** Two calls of the model for one answer. */
  async together() {
    return client.question(session, "consulta", "¿?", async (q) => {
      for (const id of ["1", "2"]) {
        const answer = await openai.chat.completions.create({ model: "x", messages: [], metadata: { id } });
        if (q.read(q.read(answer)) !== answer) throw new Error("not the same");
      }
      q.version = "v2";
    });
  },
  /** What `medir` measures besides: a function, one that yields, a handle. */
  async measures() {
    const options = { session: (a) => a.session, content: (a) => a.text, tokens: (result) => [result.length, 1], version: "v1" };
    const plain = medir(client, "consulta", options, ({ text }) => text.toUpperCase());
    const slow = medir(client, (a) => a.type, options, async ({ text }) => (await sleep(50), text));
    const fails = medir(client, "consulta", { session, tokens: () => [1, 1] }, () => {
      throw new TypeError("secreto");
    });
    const yields = medir(client, "consulta", { session }, async function* () {
      await sleep(40);
      yield "a";
      await sleep(40);
      yield "b";
    });
    const results = [plain({ session, text: "hola" }), await slow({ session, text: "adiós", type: "monitoreo" })];
    try {
      fails();
    } catch (error) {
      results.push(error.message);
    }
    const items = [];
    for await (const item of yields()) items.push(item);
    const handle = medir(client, "consulta", { session, eventId: "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f" });
    handle.firstToken();
    handle.tool("buscar documentos", 5);
    await handle.tool("falla", async () => Promise.reject(new RangeError("x"))).catch(() => {});
    handle.end("limite");
    handle.end();
    medir(client, "consulta", { session }).cancel();
    results.push(medir(client, "consulta", { session }).run((m) => (m.tokens(7, 8), m.eventId)).length, items.join(""));
    // A builder's own faults cost their value, never the call.
    const broken = { session, content: () => nothing.here, tokens: () => nothing.here };
    results.push(medir(client, "consulta", broken, () => "sigue")());
    for (const who of [null, undefined, {}]) results.push(medir(who, "consulta", {}, () => "sigue")());
    return results;
  },
  flush: ({ seconds }) => client.flush(seconds * 1000),
  stats: () => client.stats(),
  dropped: () => drops,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...command } = JSON.parse(line);
  if (name === "end") break;
  process.stdout.write(`${JSON.stringify((await does[name](command)) ?? null)}\n`);
}
process.exit(0);
