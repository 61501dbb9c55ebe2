/**
 * `test` of node:test, without the hook on promises that it has in Node 20: that one follows every
 * promise from its birth to its collection, to say during which test something was thrown that
 * nobody caught. A simulation makes promises by the million and spent a third of its time on that.
 *
 * What is thrown and not caught still fails its file. It is told with its stack, not with the name
 * of a test. Subtests need `context.test`, since after an `await` a bare `test` inside another one
 * cannot know whose it is.
 */
import { createHook } from "node:async_hooks";
import { after } from "node:test";

const prototype = Object.getPrototypeOf(createHook({})) as { enable: () => unknown };
const { enable } = prototype;
prototype.enable = function (this: unknown) {
  return this;
};
// The runner sets itself up, and its hook, at the first call of any of its functions.
after(() => {});
prototype.enable = enable;

const tell = (error: unknown): void => console.error(error);
process.on("uncaughtExceptionMonitor", tell);
process.on("unhandledRejection", tell);

export { test } from "node:test";
