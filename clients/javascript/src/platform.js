/** What differs between Node, Workers and web pages, and the two clocks. */

export const VERSION = "0.1.0";

export const inNode = typeof process !== "undefined" && typeof process.once === "function" && !globalThis.document;

/** Milliseconds that only go forward: for durations and deadlines. */
export const now = () => performance.now();

export const timestampNow = () => new Date().toISOString();

const utf8 = new TextEncoder();
export const bytesOf = (text) => utf8.encode(text);
