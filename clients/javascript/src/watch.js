import { quiet } from "./inside.js";

/** Whether it gives its values bit by bit, and only so: Node's and the web's streams have other ways out. */
export function yields(thing) {
  if (typeof thing?.[Symbol.asyncIterator] !== "function") return false;
  return typeof thing.getReader !== "function" && typeof thing.pipe !== "function";
}

/**
 * Hears what an async iterable yields while its caller takes it, as lazily as the caller does: `item` of each value,
 * `end` at its end or where the caller leaves, `fail` of an error. The object stays the same one.
 */
export function watch(client, iterable, { item, end, fail }) {
  const tell = (action) => quiet(client, "stream", action);
  const hear = (iterator) => {
    const { next, return: leave, throw: raise } = iterator;
    const own = {
      next(...values) {
        const answer = next.apply(iterator, values);
        Promise.resolve(answer).then(
          (found) => tell(() => (found.done ? end() : item(found.value))),
          (error) => tell(() => fail(error)),
        );
        return answer;
      },
      return(...values) {
        tell(() => end());
        return leave ? leave.apply(iterator, values) : Promise.resolve({ done: true, value: values[0] });
      },
    };
    if (raise) {
      own.throw = (error) => {
        tell(() => fail(error));
        return raise.call(iterator, error);
      };
    }
    return Object.assign(iterator, own);
  };
  tell(() => {
    if (typeof iterable.next === "function") {
      hear(iterable);
      return;
    }
    // The `Stream` of OpenAI's package makes its iterators, those of `tee` as well, by a property of this name.
    const name = typeof iterable.iterator === "function" ? "iterator" : Symbol.asyncIterator;
    const begin = iterable[name];
    Object.defineProperty(iterable, name, {
      value: (...values) => hear(begin.apply(iterable, values)),
      configurable: true,
      writable: true,
    });
  });
}
