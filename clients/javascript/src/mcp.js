import { note, quiet } from "./inside.js";
import { Measure, observed } from "./measure.js";
import { errorName } from "./record.js";
import { optionOf, takeTokens } from "./subject.js";
import { ToolCall } from "./toolcall.js";

const CALL = "tools/call";
/** The tool's result says that it is an error, and nothing that was thrown told more. */
const FAILED = "error_herramienta";
const UNKNOWN = "herramienta_desconocida";
const MAX_TYPE_CHARS = 64;

/** Which clients measure a server already. */
const measuredBy = new WeakMap();
/** The measurement of a call, by the object that the SDK hands to its tool. */
const measures = new WeakMap();

/**
 * Makes an event of every `tools/call` of an MCP server: `McpServer` or `Server` of the official SDK, of either
 * generation (`@modelcontextprotocol/sdk`, `@modelcontextprotocol/server`), with the tools that it has and those that it
 * gets later. Returns the server. Results, errors, progress and abort signals pass through as they are; arguments are
 * not read, unless an option does.
 */
export function instrument(server, client, options = {}) {
  quiet(client, "instrument", () => {
    const low = server?.server?.setRequestHandler ? server.server : server;
    // The one place of both generations that every call passes, whoever registered its handler, and when.
    const handlers = low?._requestHandlers;
    if (!(handlers instanceof Map) || typeof low.setRequestHandler !== "function") {
      note(client, "instrument", "this is no server of the official SDK: its tools are not measured");
      return;
    }
    const clients = measuredBy.get(low) ?? new WeakSet();
    measuredBy.set(low, clients);
    if (clients.has(client)) return;
    clients.add(client);
    const tools = new Tools(server, low, client, options ?? {});
    const ours = new WeakSet();
    const wrap = () => {
      const found = handlers.get(CALL);
      if (found === undefined || ours.has(found)) return;
      const measured = tools.measured(found);
      ours.add(measured);
      handlers.set(CALL, measured);
    };
    wrap();
    const set = low.setRequestHandler;
    low.setRequestHandler = function (...args) {
      const result = set.apply(this, args);
      quiet(client, "instrument", wrap);
      return result;
    };
  });
  return server;
}

/** The measurement of the call that a tool is working on, by the second argument (`extra`, `ctx`) that it was given. */
export function current(extra) {
  return extra && typeof extra === "object" ? measures.get(extra) : undefined;
}

class Tools {
  #server;
  #low;
  #client;
  #options;
  #thrown = new WeakMap();

  constructor(server, low, client, options) {
    this.#server = server;
    this.#low = low;
    this.#client = client;
    this.#options = options;
    this.#hearOfThrown();
  }

  measured(handler) {
    const tools = this;
    return function (request, extra) {
      const call = quiet(tools.#client, CALL, () => new ToolCall(request, extra));
      const measure = quiet(tools.#client, CALL, () => tools.#begin(call));
      return observed(
        tools.#client,
        () => handler.call(this, request, extra),
        (result) => tools.#end(measure, call, result, result?.isError ? tools.#classOf(call) : undefined),
        (error) => tools.#end(measure, call, undefined, tools.#classOf(call, error)),
      );
    };
  }

  /** `McpServer` makes a result of what a tool throws; here its name is still known. */
  #hearOfThrown() {
    const { executeToolHandler: execute } = this.#server;
    if (typeof execute !== "function") return;
    const thrown = this.#thrown;
    const client = this.#client;
    this.#server.executeToolHandler = function (tool, args, extra) {
      return observed(
        client,
        () => execute.call(this, tool, args, extra),
        () => {},
        (error) => thrown.set(extra, error),
      );
    };
  }

  #begin(call) {
    const value = (name) => optionOf(this.#client, this.#options, name, [call]);
    const measure = new Measure(this.#client, {
      session: value("session") ?? this.#sessionOf(call, value("user") ?? call.subject, value("conversation") ?? call.conversation),
      eventType: this.#typeOf(call),
      model: value("model"),
      version: value("version"),
    });
    if (call.extra && typeof call.extra === "object") measures.set(call.extra, measure);
    return measure;
  }

  #end(measure, call, result, error) {
    const value = (name) => optionOf(this.#client, this.#options, name, [call, result]);
    measure.content ||= value("content") ?? "";
    takeTokens(measure, value("tokens"));
    measure.end(error);
  }

  /** The conversation's, else the MCP session's, else the connection's; of HTTP that has neither, the user's. */
  #sessionOf(call, user, conversation) {
    const client = this.#client;
    if (conversation) return client.sessionFor(user, conversation);
    if (call.mcpSession) return client.sessionFor(user, `mcp-session:${call.mcpSession}`);
    return call.overHttp ? client.sessionFor(user) : client.sessionOf(this.#low.transport ?? this.#low, user);
  }

  #typeOf(call) {
    const { eventType } = this.#options;
    const mapped =
      eventType && typeof eventType === "object"
        ? Object.hasOwn(eventType, call.name) && eventType[call.name]
        : optionOf(this.#client, this.#options, "eventType", [call]);
    return String(mapped || call.name || UNKNOWN).slice(0, MAX_TYPE_CHARS);
  }

  #classOf(call, error = call?.extra && this.#thrown.get(call.extra)) {
    const tools = this.#server._registeredTools;
    if (tools && typeof tools === "object" && !Object.hasOwn(tools, call?.name)) return UNKNOWN;
    return error === undefined || error === null ? FAILED : errorName(error);
  }
}
