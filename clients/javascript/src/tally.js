import { causeOf } from "./reply.js";

const MAX_REFUSED_SESSIONS = 10_000;
const HINTS = {
  no_usage: "the model's answer says no usage: ask for it (stream_options.include_usage) or give `count`",
};

/** What became of the records: sent, dropped and why, and the sessions that the bridge does not have. */
export class Tally {
  #log;
  #onDrop;
  #dropped = {};
  #refused = new Map();
  #lost = new Map();
  sent = 0;
  retries = 0;
  /** Records that were in flight and are no more: delivered or dropped. */
  settled = 0;

  constructor(onDrop, log) {
    this.#onDrop = onDrop;
    this.#log = log;
  }

  get dropped() {
    return { ...this.#dropped };
  }

  settleSent(count) {
    this.sent += count;
    this.settled += count;
  }

  settleDrop(record, reason, problem = null) {
    this.settled += 1;
    this.drop([record], reason, problem);
  }

  drop(records, reason, problem = null) {
    for (const { id, kind } of records) {
      this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1;
      if (reason !== "disabled" && reason !== "closed") {
        const cause = causeOf(problem);
        const type = problem?.type ? ` (${String(problem.type).slice(0, 100)})` : "";
        const why = cause ?? HINTS[reason];
        this.#log.note(reason, `dropped ${kind} ${id}${why ? `: ${why}${type}` : ""}`, cause ?? undefined);
      }
      if (this.#onDrop) this.#log.quiet("onDrop", () => this.#onDrop(id, reason, problem));
    }
  }

  /** The bridge does not have this session and will not: its events need not be sent. */
  refuse(session, problem = null) {
    remember(this.#refused, session, problem);
  }

  isRefused(session) {
    return this.#refused.has(session);
  }

  whyRefused(session) {
    return this.#refused.get(session) ?? null;
  }

  /** The bridge had this session once, maybe, and has it no more. */
  lose(session) {
    remember(this.#lost, session, null);
  }

  /** It is offered once more. */
  forgive(session) {
    this.#refused.delete(session);
    this.#lost.delete(session);
  }

  isGone(session) {
    return this.#refused.has(session) || this.#lost.has(session);
  }
}

function remember(sessions, session, problem) {
  sessions.set(session, problem);
  if (sessions.size > MAX_REFUSED_SESSIONS) sessions.delete(sessions.keys().next().value);
}
