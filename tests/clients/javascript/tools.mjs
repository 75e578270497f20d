// An MCP server of the official SDK, instrumented with the packed client, and the SDK's own client of it. Reads a
// command a line, answers a line. Argument: which SDK and server (`sdk McpServer`, `split Server`, …).

import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { BridgeClient, current, instrument } from "otel-bridge-client";

const [sdk, kind] = process.argv.slice(2);
const parts =
  sdk === "sdk"
    ? {
        ...(await import("@modelcontextprotocol/sdk/server/mcp.js")),
        ...(await import("@modelcontextprotocol/sdk/server/index.js")),
        ...(await import("@modelcontextprotocol/sdk/server/streamableHttp.js")),
        ...(await import("@modelcontextprotocol/sdk/client/index.js")),
        ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
        ...(await import("@modelcontextprotocol/sdk/inMemory.js")),
        ...(await import("@modelcontextprotocol/sdk/types.js")),
      }
    : { ...(await import("@modelcontextprotocol/client")), ...(await import("@modelcontextprotocol/server")) };

class LimitReached extends Error {}

const seen = { aborted: 0, measured: [] };
const say = (value) => ({ content: [{ type: "text", text: String(value) }] });
const tools = {
  async lenta({ ms = 0 }) {
    const started = performance.now();
    await sleep(ms);
    return say(performance.now() - started);
  },
  async falla() {
    throw new LimitReached("secreto de la herramienta");
  },
  async dice_que_no() {
    return { ...say("no"), isError: true };
  },
  async avanza(_, extra) {
    const token = (extra._meta ?? extra.mcpReq._meta).progressToken;
    const notify = extra.sendNotification ?? extra.mcpReq.notify;
    for (const progress of [1, 2]) {
      await notify({ method: "notifications/progress", params: { progressToken: token, progress, total: 2 } });
    }
    return say("hecho");
  },
  async espera(_, extra) {
    const { signal } = extra.signal ? extra : extra.mcpReq;
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    seen.aborted += 1;
    throw Object.assign(new Error("aborted"), { name: "AbortError" });
  },
  async anota(_, extra) {
    const m = current(extra);
    m.tokens(30, 12, 10, 4);
    m.model = "gpt-6.2-sol";
    await m.tool("buscar", async () => sleep(20));
    seen.measured.push(m.eventId);
    return say("anotado");
  },
  async tardia() {
    return say("registrada después");
  },
};

let bridge;
let options = {};

function makeServer(measured) {
  const info = { name: "prueba", version: "1" };
  const late = ["tardia"];
  const early = Object.keys(tools).filter((name) => !late.includes(name));
  if (kind === "McpServer") {
    const server = new parts.McpServer(info);
    const schema = sdk === "sdk" ? { ms: z.number().optional() } : z.object({ ms: z.number().optional() });
    const add = (name) => server.registerTool(name, { description: name, inputSchema: schema }, tools[name]);
    if (!measured) Object.keys(tools).forEach(add);
    else {
      early.forEach(add);
      if (instrument(server, bridge, options) !== server) throw new Error("not the server");
      instrument(server, bridge, options); // twice is once
      late.forEach(add);
    }
    return server;
  }
  const server = new parts.Server(info, { capabilities: { tools: {} } });
  const call = async (request, extra) => tools[request.params.name](request.params.arguments ?? {}, extra);
  const list = async () => ({ tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: "object" } })) });
  const register = (method, schema, handler) => server.setRequestHandler(sdk === "sdk" ? schema : method, handler);
  register("tools/list", parts.ListToolsRequestSchema, list);
  if (measured && options.first) instrument(server, bridge, options);
  register("tools/call", parts.CallToolRequestSchema, call);
  if (measured && !options.first) instrument(server, bridge, options);
  return server;
}

async function connect(measured) {
  const [ours, theirs] = parts.InMemoryTransport.createLinkedPair();
  await makeServer(measured).connect(ours);
  const client = new parts.Client({ name: "prueba", version: "1" });
  await client.connect(theirs);
  return client;
}

const call = async (client, { tool, args = {}, meta, abort_after: abortAfter }) => {
  const progress = [];
  const request = { onprogress: ({ progress: at }) => progress.push(at) };
  const controller = new AbortController();
  if (abortAfter !== undefined) setTimeout(() => controller.abort(), abortAfter);
  const params = { name: tool, arguments: args, ...(meta ? { _meta: meta } : {}) };
  const more = { ...(tool === "avanza" ? request : {}), signal: controller.signal };
  try {
    const result = await (sdk === "sdk" ? client.callTool(params, undefined, more) : client.callTool(params, more));
    return { result, progress };
  } catch (error) {
    return { error: { name: error.name, code: error.code ?? null, message: error.message }, progress };
  }
};

/** Streamable HTTP as the SDK's examples have it: a server for each session, or for each request. */
async function listen(stateful) {
  const sessions = new Map();
  const http = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : undefined;
    let transport = sessions.get(request.headers["mcp-session-id"]);
    if (!transport) {
      transport = new parts.StreamableHTTPServerTransport({
        sessionIdGenerator: stateful ? randomUUID : undefined,
        onsessioninitialized: (id) => sessions.set(id, transport),
      });
      await makeServer(true).connect(transport);
    }
    await transport.handleRequest(request, response, body);
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return http;
}

let client;
let bare;
const does = {
  async new({ url, first = false, functions = {}, ...rest }) {
    bridge = new BridgeClient(url, "devops-expert", { flushIntervalMs: 20, logger: null });
    options = { first, ...rest };
    Object.assign(seen, { aborted: 0, measured: [] });
    // What a builder writes as functions, by name.
    for (const [name, source] of Object.entries(functions)) options[name] = new Function(`return (${source})`)();
    client = await connect(true);
    bare = await connect(false);
  },
  call: (command) => call(client, command),
  bare: (command) => call(bare, command),
  async many({ count, tool, args }) {
    for (let i = 0; i < count; i++) await call(client, { tool, args });
  },
  async http({ stateful, clients, calls }) {
    // The newer generation serves requests of the Fetch API, each with a server of its own.
    const handler = parts.createMcpHandler?.(() => makeServer(true));
    const server = handler ? undefined : await listen(stateful);
    const port = server?.address().port ?? 80;
    const how = handler ? { fetch: (url, init) => handler.fetch(new Request(url, init)) } : {};
    for (let i = 0; i < clients; i++) {
      const one = new parts.Client({ name: "prueba", version: "1" });
      await one.connect(new parts.StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${port}/mcp`), how));
      for (let j = 0; j < calls; j++) await call(one, { tool: "lenta" });
      await one.close();
    }
    server?.closeAllConnections();
    server?.close();
  },
  instrument_nonsense() {
    for (const server of [undefined, null, 1, {}, { server: {} }, Object.freeze({})]) {
      if (instrument(server, bridge) !== server) throw new Error("not the same");
      if (instrument(server, null) !== server) throw new Error("not the same");
    }
    return bridge.stats().lastError;
  },
  seen: () => seen,
  flush: ({ seconds }) => bridge.flush(seconds * 1000),
  stats: () => bridge.stats(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...command } = JSON.parse(line);
  if (name === "end") break;
  process.stdout.write(`${JSON.stringify((await does[name](command)) ?? null)}\n`);
}
process.exit(0);
