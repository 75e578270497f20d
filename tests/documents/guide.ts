// The integration guide's class and bodies, in the types that openapi-typescript makes of a bridge's documents.
// `tsc --strict` reads it, then it runs: `node guide.js URL`.
import createClient from "openapi-fetch";
import type { paths as Actions } from "./actions.js";
import type { components, paths } from "./openapi.js";

declare const process: { argv: string[] };

type Schemas = components["schemas"];
const api = createClient<paths>({ baseUrl: process.argv[2] });

class DevOpsMetrics {
  gptId = "devops-expert";

  async createSession(userId: string): Promise<string> {
    const { data, error } = await api.POST("/api/sessions", {
      body: {
        gpt_id: this.gptId,
        usuario_id: userId,
        timestamp_inicio: new Date().toISOString(),
      },
    });
    if (!data) throw new Error(error.detail);
    return data.id;
  }

  async logEvent(
    sessionId: string,
    eventType: string,
    content: string,
    latency: number,
    tokensIn: number,
    tokensOut: number,
  ): Promise<void> {
    const { error } = await api.POST("/api/events", {
      body: {
        sesion_id: sessionId,
        tipo: eventType,
        contenido: content,
        latency_ms: latency,
        tokens_entrada: tokensIn,
        tokens_salida: tokensOut,
        timestamp: new Date().toISOString(),
      },
    });
    if (error) throw new Error(error.detail);
  }
}

const session: Schemas["SessionIn"] = {
  gpt_id: "devops-expert",
  usuario_id: "usuario123",
  timestamp_inicio: "2025-06-29T20:00:00.000Z",
};
const event = {
  tipo: "consulta",
  contenido: "¿Cómo configuro un pipeline CI/CD con Docker?",
  latency_ms: 1500,
  tokens_entrada: 25,
  tokens_salida: 150,
};
const events: Schemas["EventIn"][] = [
  { sesion_id: "uuid-de-la-sesion", ...event },
  { sesion_id: "uuid-de-la-sesion", ...event, id: null, timestamp: null, modelo: null, error: null, tokens_cache: null },
  { sesion_id: "uuid-de-la-sesion", ...event, tokens_cache: 20 },
];

type Body<Path extends keyof Actions> = Actions[Path] extends {
  post: { requestBody: { content: { "application/json": infer Found } } };
}
  ? Found
  : never;
const asAction: Body<"/api/sessions"> = { ...session, gpt_id: "devops-expert" };
const eventAsAction: Body<"/api/events"> = { ...event, gpt_id: "devops-expert", tipo: "consulta" };

// @ts-expect-error a field is missing: the types are no `any`
const noUser: Schemas["SessionIn"] = { gpt_id: "devops-expert", timestamp_inicio: "2025-06-29T20:00:00.000Z" };
// @ts-expect-error a number as a text
const quoted: Schemas["EventIn"] = { sesion_id: "uuid-de-la-sesion", ...event, latency_ms: "1500" };
// @ts-expect-error a type that the GPT has not
const otherType: Body<"/api/events"> = { ...event, gpt_id: "devops-expert", tipo: "otra" };

function reads(state: Schemas["SessionState"], item: Schemas["ItemOut"]): (string | undefined)[] {
  // @ts-expect-error only where `trace_url` is configured
  const link: string = state.enlace_traza;
  // @ts-expect-error only once there is an event
  const first: string = state.primer_evento;
  // @ts-expect-error only of what is taken
  const id: string = item.id;
  return [link, first, id, state.enlace_traza, item.error?.errors?.[0]?.campo];
}

const metrics = new DevOpsMetrics();
const sessionId = await metrics.createSession("usuario123");
await metrics.logEvent(sessionId, "consulta", "¿Cómo configuro un pipeline CI/CD con Docker?", 1500, 25, 150);
const { data: batch } = await api.POST("/api/events", {
  body: [
    { sesion_id: sessionId, ...event },
    { sesion_id: sessionId, ...event, tipo: "" },
  ],
});
const refused = batch && "resultados" in batch ? batch.resultados[1]?.error?.errors?.[0]?.campo : undefined;
const { data: state } = await api.GET("/api/sessions/{id}", { params: { path: { id: sessionId } } });
console.log(
  JSON.stringify({ eventos: state?.eventos, enlace_traza: state?.enlace_traza ?? null, campo: refused }),
);
