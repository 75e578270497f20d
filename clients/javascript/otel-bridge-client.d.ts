export const VERSION: string;
export function newUuid(): string;

export type DropReason =
  | "queue_full"
  | "refused"
  | "session_refused"
  | "invalid"
  | "no_usage"
  | "expired"
  | "exit"
  | "disabled"
  | "closed";

/** The bridge's `application/problem+json`, where it gave one. */
export interface Problem {
  type?: string;
  title?: string;
  status: number;
  detail?: string;
  errors?: { campo: string; mensaje: string; tipo: string; ejemplo: unknown }[];
}

export interface Options {
  /** Sent as `Authorization: Bearer`. A key in a web page is a public key. */
  apiKey?: string;
  /** How long a record waits for company. Default 1000. */
  flushIntervalMs?: number;
  /** Records of one batch. Default 200. */
  batchSize?: number;
  /** Records that may wait. Default 10 000. */
  maxQueue?: number;
  /** Bytes that may wait. Default 32 MiB. */
  maxQueueBytes?: number;
  /** Of one request. Default 10 000. */
  timeoutMs?: number;
  /** What the end of the process may wait for the rest of the queue. Default 5000. */
  exitTimeoutMs?: number;
  /** Compress larger bodies. Default false. */
  gzip?: boolean;
  /** Called for every record that is dropped. The id is the event's or the session's. */
  onDrop?: (id: string, reason: DropReason, problem: Problem | null) => void;
  /** Default `console`; null logs nothing. */
  logger?: { warn(words: string): void; error(words: string): void } | null;
}

/** A tool that was called on the way to an answer. */
export interface ToolTime {
  name: string;
  ms: number;
  error?: string;
}

export interface EventOptions {
  model?: string;
  /** A short code; it marks the event as failed. */
  error?: string;
  timestamp?: string;
  eventId?: string;
  /** The part of `tokensIn` that the provider's cache served. */
  tokensCached?: number;
  /** The part of `tokensOut` that the model spent on reasoning. */
  tokensReasoning?: number;
  /** Time to the first token, in milliseconds. */
  ttftMs?: number;
  /** 50 at the most. */
  tools?: Iterable<ToolTime>;
  /** Of the prompt or the agent: a short code. */
  version?: string;
}

/** A measurement under way, which becomes one event: fill in what is known. Nothing of it throws. */
export interface Measure {
  /** For `rate`. */
  readonly eventId: string;
  tokensIn: number;
  tokensOut: number;
  tokensCached?: number;
  tokensReasoning?: number;
  model?: string;
  error?: string;
  version?: string;
  content: string;
  tokens(tokensIn: number, tokensOut: number, tokensCached?: number, tokensReasoning?: number): void;
  /** Adds tokens, model and error of a response of OpenAI's API, or of one alike; returns the response. */
  read<R>(answer: R): R;
  /** The first token is there; later calls change nothing. */
  firstToken(): void;
  /** A tool that took this long. */
  tool(name: string, ms: number, error?: string): void;
  /** Runs a tool and measures it. */
  tool<R>(name: string, work: () => R): R;
  /** Records the event, once. */
  end(error?: unknown): void;
  /** No event. */
  cancel(): void;
  /** Runs `work` to its end, and records. Returns what it returns. */
  run<R>(work: (m: Measure) => R): R;
}

/** What `question` hands out. */
export type Question = Measure;

export interface Stats {
  sent: number;
  pending: number;
  retries: number;
  lastError: string | null;
  dropped: Partial<Record<DropReason, number>>;
}

export class BridgeClient {
  readonly gptId: string;
  constructor(baseUrl: string | null | undefined, gptId: string, options?: Options);
  createSession(userId: string, options?: { sessionId?: string; timestamp?: string }): string;
  /** The session of a conversation, the same one in every process; without one, this process's of that user. */
  sessionFor(userId?: string, conversation?: string): string;
  /** The session that goes with an object of yours, as long as that lives. */
  sessionOf(owner: object, userId?: string): string;
  /** Returns the event's id, for `rate`. */
  logEvent(
    sessionId: string,
    eventType: string,
    content: string,
    latencyMs: number,
    tokensIn?: number,
    tokensOut?: number,
    options?: EventOptions,
  ): string;
  question<T>(
    sessionId: string,
    eventType: string,
    content: string,
    answer: (q: Question) => T | Promise<T>,
    options?: { model?: string; version?: string; eventId?: string },
  ): Promise<T>;
  /** What somebody thought of an answer: from -1 (bad) to 1 (good). */
  rate(eventId: string, valor: number, comentario?: string): void;
  /** Nothing more is to come. */
  endSession(sessionId: string): void;
  flush(timeoutMs?: number): Promise<boolean>;
  close(timeoutMs?: number): Promise<boolean>;
  stats(): Stats;
}

export type Tokens =
  | readonly [tokensIn: number, tokensOut: number, tokensCached?: number, tokensReasoning?: number]
  | { tokensIn: number; tokensOut: number; tokensCached?: number; tokensReasoning?: number };

/** A value, or a function of the measured call that gives it; one that fails costs its value, never the call. */
export type Option<A extends unknown[], V = string> = V | undefined | ((...args: A) => V | undefined);

/** What is measured and for whom. */
export interface Subject<A extends unknown[] = []> {
  /** Of a session, its id. Without one: the conversation's, else the user's, else the anonymous one's. */
  session?: Option<A>;
  user?: Option<A>;
  conversation?: Option<A>;
  /** Nothing is sent unless you say what. */
  content?: Option<A>;
  model?: Option<A>;
  version?: Option<A>;
  /** Your own, to rate the event later. */
  eventId?: Option<A>;
}

/** Begins a measurement. */
export function medir(client: BridgeClient, eventType: string, options?: Subject): Measure;
/** A function like `work`, of which each call is an event. */
export function medir<A extends unknown[], R, T = unknown>(
  client: BridgeClient,
  eventType: Option<NoInfer<A>>,
  options: Subject<NoInfer<A>> & { tokens?: (result: Awaited<NoInfer<R>>, ...args: NoInfer<A>) => Tokens | undefined },
  work: (this: T, ...args: A) => R,
): (this: T, ...args: A) => R;

/**
 * A function like `call`, which calls a model: usage, model, error and time to first token are read off what it
 * returns (OpenAI's Responses and Chat Completions, and what is shaped like them; streams too). `count` tells tokens
 * where the answer does not; without it such an event is dropped as `no_usage`.
 */
export function medirRespuesta<A extends unknown[], R, T = unknown>(
  client: BridgeClient,
  eventType: Option<NoInfer<A>>,
  options: Subject<NoInfer<A>> & { count?: (text: string, ...args: NoInfer<A>) => Tokens | undefined },
  call: (this: T, ...args: A) => R,
): (this: T, ...args: A) => R;

/** One call of a tool. */
export interface ToolCall {
  readonly name: string;
  readonly arguments: Record<string, unknown>;
  readonly meta: Record<string, unknown>;
  /** ChatGPT's `openai/session` and `openai/subject`. */
  readonly conversation: string | undefined;
  readonly subject: string | undefined;
  readonly mcpSession: string | undefined;
  /** As the SDK gives them. */
  readonly request: unknown;
  readonly extra: unknown;
}

export interface InstrumentOptions {
  /** Default: the tool's name. A map leaves the others theirs. */
  eventType?: string | Record<string, string> | ((call: ToolCall) => string | undefined);
  session?: Option<[call: ToolCall]>;
  user?: Option<[call: ToolCall]>;
  conversation?: Option<[call: ToolCall]>;
  /** Nothing is sent unless you say what. */
  content?: Option<[call: ToolCall, result: unknown]>;
  /** Of a model that the tool itself calls. */
  tokens?: (call: ToolCall, result: unknown) => Tokens | undefined;
  model?: Option<[call: ToolCall]>;
  version?: Option<[call: ToolCall]>;
}

/** Makes an event of every `tools/call` of a server of the official MCP SDK; returns the server. */
export function instrument<S extends object>(server: S, client: BridgeClient, options?: InstrumentOptions): S;

/** The measurement of the call that a tool is working on, by its second argument (`extra`, `ctx`). */
export function current(extra: unknown): Measure | undefined;
