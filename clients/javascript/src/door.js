import { VERSION, inNode } from "./platform.js";
import { milliseconds, parse } from "./reply.js";

const GZIP_FROM_BYTES = 1024;
/** What browsers let a page that is going away still send, all requests together. */
export const KEEPALIVE_BYTES = 60_000;

/** The bridge's API over HTTP: one request at a time, no retries. `url` is null where nothing can be sent. */
export class Door {
  #options;
  #log;
  #request = null;
  /** Whether the page may end at any moment. */
  leaving = false;

  constructor(baseUrl, options, log) {
    this.#options = options;
    this.#log = log;
    this.headers = { "Content-Type": "application/json" };
    if (inNode) this.headers["User-Agent"] = `otel-bridge-client-javascript/${VERSION}`;
    if (options.apiKey) this.headers.Authorization = `Bearer ${options.apiKey}`;
    this.url = this.#readUrl(baseUrl);
  }

  #readUrl(baseUrl) {
    if (baseUrl === null || baseUrl === undefined || baseUrl === "") return null;
    const { apiKey } = this.#options;
    const refuse = (words) => {
      this.#log.error(`${words}: nothing will be sent`);
      return null;
    };
    let url;
    try {
      url = new URL(String(baseUrl));
    } catch {
      return refuse("baseUrl is not a URL such as https://koomtai.com/api");
    }
    if (!["http:", "https:"].includes(url.protocol)) return refuse("baseUrl is neither http nor https");
    if (apiKey && !/^[\x21-\x7e]+$/.test(apiKey)) return refuse("apiKey has characters that no key has");
    if (apiKey && url.protocol === "http:" && !["localhost", "127.0.0.1", "[::1]"].includes(url.hostname)) {
      this.#log.note("key", `the API key travels unencrypted to ${url.hostname}: use https`);
    }
    const path = url.pathname.replace(/\/+$/, "");
    return url.origin + (path || "/api");
  }

  async post(path, text) {
    const headers = { ...this.headers };
    let body = text;
    const abort = (this.#request = new AbortController());
    const timer = setTimeout(() => abort.abort(), this.#options.timeoutMs);
    try {
      if (this.#options.gzip && !this.leaving && text.length >= GZIP_FROM_BYTES && globalThis.CompressionStream) {
        const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
        body = await new Response(stream).arrayBuffer();
        headers["Content-Encoding"] = "gzip";
      }
      const response = await fetch(this.url + path, {
        method: "POST",
        headers,
        body,
        signal: abort.signal,
        // A key must not follow to wherever a redirect points.
        redirect: "error",
        credentials: "omit",
        keepalive: this.leaving && text.length < KEEPALIVE_BYTES,
      });
      const answer = await response.text();
      return {
        status: response.status,
        document: parse(answer),
        retryAfterMs: milliseconds(response.headers.get("Retry-After")),
      };
    } catch (error) {
      return { status: 0, words: String(error?.cause?.code ?? error?.name) };
    } finally {
      clearTimeout(timer);
      this.#request = null;
    }
  }

  /** Sends without waiting for an answer: the page goes. */
  tell(path, text) {
    if (!this.#options.apiKey && !("keepalive" in Request.prototype) && navigator.sendBeacon) {
      navigator.sendBeacon(this.url + path, new Blob([text], { type: "application/json" }));
      return;
    }
    const request = { method: "POST", headers: this.headers, body: text, keepalive: true, credentials: "omit" };
    fetch(this.url + path, { ...request, redirect: "error" }).catch(() => {});
  }

  /** Ends the request that is under way: its answer would hold the process, and nobody waits for it any more. */
  abort() {
    this.#request?.abort();
  }
}
