export const VERSION: string;
export function newUuid(): string;

export type DropReason =
  | "queue_full"
  | "refused"
  | "session_refused"
  | "invalid"
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
  /** Called for every record that is dropped. */
  onDrop?: (id: string, reason: DropReason, problem: Problem | null) => void;
  /** Default `console`; null logs nothing. */
  logger?: { warn(words: string): void; error(words: string): void } | null;
}

export interface Question {
  tokensIn: number;
  tokensOut: number;
  /** The part of `tokensIn` that the provider's cache served. */
  tokensCached?: number;
  model?: string;
  error?: string;
  tokens(tokensIn: number, tokensOut: number, tokensCached?: number): void;
}

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
  logEvent(
    sessionId: string,
    eventType: string,
    content: string,
    latencyMs: number,
    tokensIn?: number,
    tokensOut?: number,
    options?: { model?: string; error?: string; timestamp?: string; eventId?: string; tokensCached?: number },
  ): void;
  question<T>(
    sessionId: string,
    eventType: string,
    content: string,
    answer: (q: Question) => T | Promise<T>,
    options?: { model?: string },
  ): Promise<T>;
  flush(timeoutMs?: number): Promise<boolean>;
  close(timeoutMs?: number): Promise<boolean>;
  stats(): Stats;
}
