// What builders write, in TypeScript: `tsc --strict` reads it.
import { BridgeClient, current, instrument, medir, medirRespuesta, newUuid } from "otel-bridge-client";
import type { Measure, Problem, Stats } from "otel-bridge-client";

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

instrument({}, client, { eventType: { buscar: "consulta" }, content: (call) => call.name });
const inside: Measure | undefined = current({});

const sum = medir(client, "consulta", { content: (a, b) => `${a} ${b}` }, (a: number, b: number) => a + b);
const three: number = sum(1, 2);
const measure: Measure = medir(client, "consulta", { session });
measure.end();

const ask = medirRespuesta(client, "consulta", { session, eventId: () => newUuid() }, async (input: string) => ({ input }));
const text: Promise<string> = ask("hola").then((response) => response.input);

// @ts-expect-error there is no such option: the types are no `any`
new BridgeClient(null, "devops-expert", { retries: 3 });
// @ts-expect-error a number
client.rate(id, "1");
// @ts-expect-error its arguments are those of the function
sum("1");
// @ts-expect-error and its result
const wrong: string = sum(1, 2);

export { answer, inside, stats, text, three, wrong };
