import { quiet } from "./inside.js";
import { Measure, observed } from "./measure.js";
import { subjectOf, takeTokens } from "./subject.js";

/**
 * Measures anything else. Without `work` a measurement begins and is returned: `end` records it, `run` runs a function
 * within it. With it a function like `work` is returned, of which each call is an event; then each option may be a
 * function of the call's arguments.
 */
export function medir(client, eventType, options = {}, work = undefined) {
  if (work === undefined) return begin(client, eventType, options, []);
  return function measured(...args) {
    const measure = begin(client, eventType, options, args);
    return measure.run(() =>
      observed(
        client,
        () => work.apply(this, args),
        (result) => {
          const { tokens } = options ?? {};
          if (typeof tokens === "function") takeTokens(measure, tokens(result, ...args));
        },
        () => {},
      ),
    );
  };
}

function begin(client, eventType, options, args) {
  return new Measure(client, quiet(client, "medir", () => subjectOf(client, eventType, options, args)));
}
