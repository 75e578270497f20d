// Runs clients/javascript as its users do: in a process of its own. Reads a command a line, answers a line.
// Where it runs to its end (`end`), nobody flushes or closes: that is left to the client.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { BridgeClient } from "../../clients/javascript/otel-bridge-client.mjs";

const QUESTION = "¿Cómo configuro un pipeline CI/CD con Docker?";
const NAMES = {
  api_key: "apiKey",
  flush_interval: "flushIntervalMs",
  batch_size: "batchSize",
  max_queue: "maxQueue",
  max_queue_bytes: "maxQueueBytes",
  timeout: "timeoutMs",
  exit_timeout: "exitTimeoutMs",
  gzip: "gzip",
};
const drops = [];
let client;

const does = {
  new({ url, gpt = "devops-expert", broken_callback = false, ...options }) {
    const own = Object.entries(options).map(([name, value]) => [
      NAMES[name],
      NAMES[name].endsWith("Ms") ? value * 1000 : value,
    ]);
    const onDrop = (id, reason, problem) => {
      drops.push([id, reason, problem]);
      if (broken_callback) throw new Error("the caller's own fault");
    };
    client = new BridgeClient(url, gpt, { onDrop, ...Object.fromEntries(own) });
  },
  session: ({ user = "usuario123" }) => client.createSession(user),
  events({ session, count = 1, content = QUESTION, latency = 1500, tokens = [25, 150], tokens_cached, ...options }) {
    const took = []; // the tenth slowest is told: a busy machine holds up one or two
    for (let i = 0; i < count; i++) {
      const started = performance.now();
      client.logEvent(session, "consulta", content, latency, ...tokens, { ...options, tokensCached: tokens_cached });
      took.push(performance.now() - started);
    }
    return took.sort((one, other) => one - other).slice(-10)[0] / 1000;
  },
  event: ({ session }) => client.logEvent(session, "consulta", QUESTION, 1500, 25, 150),
  rate: ({ event, valor, comentario }) => client.rate(event, valor, comentario),
  end_session: ({ session }) => client.endSession(session),
  session_for: ({ user, conversation }) => client.sessionFor(user, conversation),
  async question({ session, seconds, fail = false, tokens = [25, 150] }) {
    const work = async (q) => {
      await sleep(seconds * 1000);
      q.tokens(...tokens);
      if (fail) throw Object.assign(new Error("of the caller"), { name: "TimeoutError" });
      return null;
    };
    try {
      return await client.question(session, "consulta", QUESTION, work, { model: "gpt-6.2-sol" });
    } catch (error) {
      return error.message;
    }
  },
  hostile() {
    const strange = {
      toString() {
        throw new Error();
      },
    };
    const values = [undefined, null, strange, "", "\ud800", "a\0b", -1, NaN, Infinity, 10n, Symbol("s"), [], "x".repeat(300)];
    for (const value of values) {
      const session = client.createSession(value);
      client.logEvent(value, "consulta", QUESTION, 1);
      client.logEvent(session, value, QUESTION, 1);
      client.logEvent(session, "consulta", value, 1);
      client.logEvent(session, "consulta", QUESTION, value, 1, 1);
      client.logEvent(session, "consulta", QUESTION, 1, value, 1);
      client.logEvent(session, "consulta", QUESTION, 1, 1, 1, { model: value, error: value, timestamp: value });
      client.logEvent(session, "consulta", QUESTION, 1, 1, 1, { tokensCached: value });
      client.logEvent(session, "consulta", QUESTION, 1, 1, 1, value);
      client.createSession("u", { sessionId: value, timestamp: value });
      client.createSession("u", value);
      client.logEvent(session, "consulta", QUESTION, 1, 1, 1, { ttftMs: value, tokensReasoning: value, version: value });
      client.logEvent(session, "consulta", QUESTION, 1, 1, 1, { tools: value });
      client.logEvent(session, "consulta", QUESTION, 1, 1, 1, { tools: [value, { name: value, ms: value, error: value }] });
      client.rate(value, 1, value);
      client.rate(session, value);
      client.endSession(value);
      client.sessionFor(value, value);
      client.sessionOf(value, value);
    }
    return null;
  },
  flush: ({ seconds }) => client.flush(seconds * 1000),
  close: ({ seconds }) => client.close(seconds * 1000),
  stats() {
    const { lastError, ...rest } = client.stats();
    return { ...rest, last_error: lastError };
  },
  dropped: () => drops,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...command } = JSON.parse(line);
  if (name === "end") break;
  process.stdout.write(`${JSON.stringify((await does[name](command)) ?? null)}\n`);
}
process.stdin.destroy();
