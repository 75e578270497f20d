// The official TypeScript client, without `_meta`: `node client.mjs URL`. It checks structured content against each
// tool's output schema, of failed calls too. Prints what it saw as JSON.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const transport = new StreamableHTTPClientTransport(new URL(process.argv[2]));
const client = new Client({ name: "conformance", version: "1" });
await client.connect(transport);
const { tools } = await client.listTools();
const call = async (name, given) => {
  const { isError, structuredContent } = await client.callTool({ name, arguments: given });
  return { failed: Boolean(isError), ...structuredContent };
};
const event = { tipo: "consulta", contenido: "¿Cómo configuro un pipeline?" };
const bare = await call("registrar_evento", event);
console.log(
  JSON.stringify({
    session: transport.sessionId !== undefined,
    outputs: tools.filter((tool) => tool.outputSchema).map((tool) => tool.name),
    made: await call("crear_sesion", {}),
    event: bare,
    measured: await call("registrar_evento", { ...event, latency_ms: 1500, tokens_entrada: 25, tokens_salida: 150 }),
    rated: await call("valorar_evento", { evento_id: bare.id, valor: 1 }),
    wrong: await call("registrar_evento", { ...event, latency_ms: "1500" }),
    missing: await call("registrar_evento", { ...event, sesion_id: "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f" }),
    ended: await call("terminar_sesion", {}),
    unknown: await call("crearSesion", {}).catch((error) => error.code),
  }),
);
await client.close();
