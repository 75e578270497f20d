// What builders write around other packages, in TypeScript: `tsc --strict` reads it.
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { BridgeClient, current, instrument, medirRespuesta, newUuid } from "otel-bridge-client";
import type { Measure } from "otel-bridge-client";
import OpenAI from "openai";

const client = new BridgeClient("http://localhost:8000/api", "devops-expert");
const session = client.createSession("usuario123");
const server: McpServer = instrument(new McpServer({ name: "x", version: "1" }), client, {
  eventType: { buscar: "consulta" },
  content: (call) => call.name,
});
server.registerTool("buscar", {}, async (extra) => {
  const m: Measure | undefined = current(extra);
  m?.tokens(1, 2);
  return { content: [] };
});

const openai = new OpenAI({ apiKey: "x" });
const ask = medirRespuesta(client, "consulta", { session, eventId: () => newUuid() }, (input: string) =>
  openai.responses.create({ model: "gpt-6.2-sol", input }),
);
const text: Promise<string> = ask("hola").then((response) => response.output_text);

// @ts-expect-error there is no such option
instrument(server, client, { tipo: "consulta" });
// @ts-expect-error its arguments are those of the function
ask(1);

export { text };
