// The same in a CommonJS project.
import bridge = require("otel-bridge-client");

const client: bridge.BridgeClient = new bridge.BridgeClient(null, "devops-expert");
const id: string = client.logEvent(client.createSession("usuario123"), "consulta", "¿?", 1);
// @ts-expect-error a number
client.rate(id, "1");
export = client;
