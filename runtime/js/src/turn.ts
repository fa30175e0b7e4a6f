/** A turn of the event loop, so that a page stays alive between two runs of a graph that computes in its thread. */

/** Resolves once events that wait have been handled; a timer would wait milliseconds. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === "function") {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
