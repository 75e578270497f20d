/**
 * Client of otel-bridge, without dependencies: Node 20 or later, Deno, Workers and browsers.
 *
 *     const client = new BridgeClient("https://koomtai.com/api", "devops-expert");
 *     const session = client.createSession("usuario123");
 *     const answer = await client.question(session, "consulta", text, async (q) => {
 *       const answer = await myGpt(text);
 *       q.tokens(25, 150);
 *       return answer;
 *     });
 */

export { BridgeClient } from "./client.js";
export { newUuid } from "./ids.js";
export { current, instrument } from "./mcp.js";
export { medir } from "./medir.js";
export { VERSION } from "./platform.js";
export { medirRespuesta } from "./respuesta.js";
