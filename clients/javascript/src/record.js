import { bytesOf, now } from "./platform.js";

/** UTF-16 units of content that are sent: more than the bridge looks at, so that it sees that there was more. */
const MAX_CONTENT_CHARS = 2 * 65_537;
/** As the bridge's contract has it. */
const MAX_TOOLS = 50;

export const SESSION = "session";
export const EVENT = "event";
export const RATING = "rating";
export const END = "end";

/**
 * One thing to send, encoded at once: what the caller does with its objects later changes nothing. A rating has the id
 * of its event, and no session; an end has its session's. `shared`: other processes open the same session.
 */
export function record(kind, id, session, fields, shared = false) {
  const text = JSON.stringify(fields, (_, value) => (typeof value === "string" ? clean(value) : value));
  return { kind, id, session, text, bytes: bytesOf(text).length, queued: now(), firstTry: null, shared };
}

/** Where it is posted; events go together, in an array. */
export function pathOf({ kind, id }) {
  if (kind === RATING) return `/events/${encodeURIComponent(clean(id))}/valoracion`;
  if (kind === END) return `/sessions/${encodeURIComponent(clean(id))}/fin`;
  return kind === SESSION ? "/sessions" : "/events";
}

/** The documented body of an event; null where a number is none. */
export function eventFields(id, session, type, content, latencyMs, tokensIn, tokensOut, options, timestamp) {
  const { model, error, tokensCached, tokensReasoning, ttftMs, tools, version } = options;
  const event = {
    id,
    sesion_id: String(session),
    tipo: String(type),
    contenido: String(content).slice(0, MAX_CONTENT_CHARS),
    latency_ms: thousandths(latencyMs),
    tokens_entrada: Number(tokensIn),
    tokens_salida: Number(tokensOut),
    timestamp,
  };
  const numbers = [event.latency_ms, event.tokens_entrada, event.tokens_salida];
  if (model) event.modelo = String(model);
  if (error) event.error = code(error);
  if (version) event.version = code(version, /[^A-Za-z0-9_.:/+@-]/g);
  if (known(tokensCached)) numbers.push((event.tokens_cache = Number(tokensCached)));
  if (known(tokensReasoning)) numbers.push((event.tokens_razonamiento = Number(tokensReasoning)));
  if (known(ttftMs)) numbers.push((event.ttft_ms = thousandths(ttftMs)));
  if (tools?.length) {
    event.herramientas = Array.from(tools).slice(0, MAX_TOOLS).map(({ name, ms, error: failure }) => {
      const tool = { nombre: code(name, NO_CODE, 128) || "_", ms: thousandths(ms) };
      if (failure) tool.error = code(failure);
      numbers.push(tool.ms);
      return tool;
    });
  }
  return numbers.every(Number.isFinite) ? event : null;
}

/** What an event says of an error: its own name, else its class's. */
export function errorName(error) {
  const own = error?.name;
  if (own && own !== "Error") return String(own);
  return error?.constructor?.name || "Error";
}

const NO_CODE = /[^A-Za-z0-9_.:/-]/g;
const known = (value) => value !== undefined && value !== null;
const thousandths = (ms) => Math.round(Number(ms) * 1000) / 1000;

/** Letters, digits and a few signs: what the bridge takes for a code. */
function code(value, others = NO_CODE, longest = 64) {
  return String(value).replace(others, "_").slice(0, longest);
}

/** Text that JSON and the bridge take: no NUL, no half of a surrogate pair. */
function clean(text) {
  const whole = /[\ud800-\udfff]/.test(text) ? new TextDecoder().decode(bytesOf(text)) : text;
  return whole.includes("\0") ? whole.replaceAll("\0", "\ufffd") : whole;
}
