/** A UUIDv7 (RFC 9562): nobody can guess it, and those made together stand together in the bridge's index. */
export function newUuid() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  let millis = Date.now();
  for (let i = 5; i >= 0; i--) {
    bytes[i] = millis % 256;
    millis = Math.floor(millis / 256);
  }
  return stamped(bytes, 7);
}

/**
 * The session id of a conversation: the same one in every process, and who lacks the key cannot tell which. Web Crypto
 * hashes only while one waits; Node's own module, which Deno, Bun and Workers have as well, does not. Where there is
 * none, it is a new id, which holds for this process.
 */
export function conversationUuid(gptId, conversation, key) {
  const crypto = globalThis.process?.getBuiltinModule?.("node:crypto");
  if (!crypto) return newUuid();
  const secret = crypto.createHash("sha256").update(`otel-bridge\0${key ?? ""}`).digest();
  return stamped(crypto.createHmac("sha256", secret).update(`${gptId}\0${conversation}`).digest().subarray(0, 16), 8);
}

function stamped(bytes, version) {
  bytes[6] = (bytes[6] & 0x0f) | (version << 4);
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
