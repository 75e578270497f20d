/** One call of a tool, as either generation of the official SDK tells it; it is what options are given. */
export class ToolCall {
  constructor(request, extra) {
    this.request = request;
    this.extra = extra;
  }

  get name() {
    return text(this.request?.params?.name) ?? "";
  }

  /** The caller's data: nothing of them is sent unless an option says so. */
  get arguments() {
    return this.request?.params?.arguments ?? {};
  }

  get meta() {
    return this.extra?._meta ?? this.extra?.mcpReq?._meta ?? this.request?.params?._meta ?? {};
  }

  /** ChatGPT's `openai/session`. */
  get conversation() {
    return text(this.meta["openai/session"]);
  }

  /**
   * ChatGPT's `openai/subject`, an anonymous id of the user, as the bridge's own `/mcp` names it: a user of both is
   * one.
   */
  get subject() {
    const subject = text(this.meta["openai/subject"]);
    return subject && `openai-subject:${subject}`;
  }

  get mcpSession() {
    return text(this.extra?.sessionId) ?? text(header(this.#http?.headers, "mcp-session-id"));
  }

  get overHttp() {
    return this.#http !== undefined;
  }

  get #http() {
    return this.extra?.requestInfo ?? this.extra?.http?.req;
  }
}

function header(headers, name) {
  const found = typeof headers?.get === "function" ? headers.get(name) : headers?.[name];
  return Array.isArray(found) ? found[0] : found;
}

const text = (value) => (typeof value === "string" && value ? value : undefined);
