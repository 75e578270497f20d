// The JavaScript client in what it takes for a web page: `document` and `pagehide` are stood in for, the rest is real.
// Arguments: the API's base URL, and what happens to the page (`hidden`, `gone` or `hidden-gone`).

const page = new EventTarget();
globalThis.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
globalThis.addEventListener = page.addEventListener.bind(page);
globalThis.removeEventListener = page.removeEventListener.bind(page);

const { BridgeClient } = await import("../../clients/javascript/otel-bridge-client.mjs");

const [url, fate] = process.argv.slice(2);
const client = new BridgeClient(url, "devops-expert", { flushIntervalMs: 60_000 });
const known = client.createSession("usuario123");
client.logEvent(known, "consulta", "¿Qué es un canary?", 100, 1, 1);
await client.flush(10_000);

for (let i = 0; i < 20; i++) client.logEvent(known, "consulta", "¿Y un blue-green?", 100, 1, 1);
if (fate.includes("hidden")) {
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
}
if (fate.includes("gone")) page.dispatchEvent(new Event("pagehide"));
// Nothing more is done: what was sent at those moments is all there will be.
