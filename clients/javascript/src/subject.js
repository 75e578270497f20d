import { quiet } from "./inside.js";

/**
 * What is measured and for whom, as builders say it: each option a value, or a function of the measured call that gives
 * it. A function that fails costs its value, never the call.
 */
export function optionOf(client, options, name, args) {
  const option = options?.[name];
  return typeof option === "function" ? quiet(client, name, () => option(...args)) : option;
}

/** What a measurement begins with. Without a session: that of the conversation, else the user's, else the anonymous one. */
export function subjectOf(client, eventType, options, args) {
  const value = (name) => optionOf(client, options, name, args);
  const session = value("session") ?? quiet(client, "session", () => client.sessionFor(value("user"), value("conversation")));
  return {
    session,
    eventType: optionOf(client, { eventType }, "eventType", args),
    content: value("content") ?? "",
    model: value("model"),
    version: value("version"),
    eventId: value("eventId"),
  };
}

/** `[in, out, cached, reasoning]`, or the same by name. Whether there were any. */
export function takeTokens(measure, counted) {
  if (counted === undefined || counted === null) return false;
  const { tokensIn, tokensOut, tokensCached, tokensReasoning } = counted;
  measure.tokens(...(Array.isArray(counted) ? counted : [tokensIn, tokensOut, tokensCached, tokensReasoning]));
  return true;
}
