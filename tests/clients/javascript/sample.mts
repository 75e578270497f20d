// What builders write, in TypeScript: `tsc --strict` reads it.
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { BridgeClient, current, instrument, medir, medirRespuesta, newUuid } from "otel-bridge-client";
import type { Measure, Problem, Stats } from "otel-bridge-client";
import OpenAI from "openai";

const client = new BridgeClient("http://localhost:8000/api", "devops-expert", {
  onDrop: (id: string, reason, problem: Problem | null) => void [id, reason === "no_usage", problem?.title],
  logger: null,
});
const session: string = client.createSession("usuario123");
const id: string = client.logEvent(session, "consulta", "¿?", 1, 2, 3, { version: "v1", ttftMs: 0.5, tools: [{ name: "a", ms: 1 }] });
client.rate(id, 1, "bien");
client.endSession(session);
const stats: Stats = client.stats();
const answer: Promise<number> = client.question(session, "consulta", "¿?", async (q) => {
  q.firstToken();
  const found: string = await q.tool("buscar", async () => "x");
  return found.length;
});

const server: McpServer = instrument(new McpServer({ name: "x", version: "1" }), client, {
  eventType: { buscar: "consulta" },
  content: (call) => call.name,
});
server.registerTool("buscar", {}, async (extra) => {
  const m: Measure | undefined = current(extra);
  m?.tokens(1, 2);
  return { content: [] };
});

const sum = medir(client, "consulta", { content: (a, b) => `${a} ${b}` }, (a: number, b: number) => a + b);
const three: number = sum(1, 2);
const measure: Measure = medir(client, "consulta", { session });
measure.end();

const openai = new OpenAI({ apiKey: "x" });
const ask = medirRespuesta(client, "consulta", { session, eventId: () => newUuid() }, (input: string) =>
  openai.responses.create({ model: "gpt-6.2-sol", input }),
);
const text: Promise<string> = ask("hola").then((response) => response.output_text);

// @ts-expect-error there is no such option: the types are no `any`
new BridgeClient(null, "devops-expert", { retries: 3 });
// @ts-expect-error a number
client.rate(id, "1");
// @ts-expect-error its arguments are those of the function
sum("1");
// @ts-expect-error and its result
const wrong: string = sum(1, 2);

export { answer, stats, text, three, wrong };
