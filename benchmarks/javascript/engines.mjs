/**
 * What is measured, the same in Node and in a page: an engine is loaded and gives its turns.
 *
 * A turn is [seconds of the prompt up to the first token, seconds of the tokens after it, their ids].
 */

/** edgetune-runtime over a bundle, as an app calls it. The next task is `adapter`, a file of kilobytes. */
export async function ours(runtime, { source, backend, threads, adapter }) {
  const model = await runtime.load(source, { backend, threads, verify: false, store: null });
  const turn = async (prompt, steps) => {
    const count = steps + 1;
    const options = { adapter: null, maxNewTokens: count, minNewTokens: count };
    const { tokenIds, timing } = await model.generate(prompt, options);
    return [timing.firstTokenMs / 1e3, steps / timing.tokensPerSecond, tokenIds];
  };
  return { turn, next: () => model.addAdapter(adapter, { name: "next", replace: true }) };
}

/**
 * transformers.js over Optimum's export, as its documentation has it; times are taken by its streamer's callback. The next
 * task is the model of that task, loaded again.
 */
export async function theirs(library, { source, dtype, device, threads }) {
  const { AutoModelForCausalLM, Tensor } = library;
  const options = { dtype, device, session_options: { intraOpNumThreads: threads } };
  const loaded = () => AutoModelForCausalLM.from_pretrained(source, options);
  let model = await loaded();
  const turn = async (prompt, steps) => {
    const times = [];
    // the prompt comes first
    const streamer = { put: () => times.push(performance.now()), end() {} };
    const ids = BigInt64Array.from(prompt, BigInt);
    const shape = [1, prompt.length];
    const count = steps + 1;
    const start = performance.now();
    const found = await model.generate({
      inputs: new Tensor("int64", ids, shape),
      attention_mask: new Tensor("int64", new BigInt64Array(prompt.length).fill(1n), shape),
      max_new_tokens: count,
      min_new_tokens: count,
      do_sample: false,
      streamer,
    });
    const first = times[1];
    return [(first - start) / 1e3, (times.at(-1) - first) / 1e3, Array.from(found.data, Number).slice(prompt.length)];
  };
  const next = async () => {
    await model.dispose();
    model = await loaded();
  };
  return { turn, next };
}

/** A turn, or with "next" the seconds until the next task is ready. */
export async function answered({ turn, next }, [what, ...rest]) {
  if (what === "turn") return turn(...rest);
  const start = performance.now();
  await next();
  return (performance.now() - start) / 1e3;
}

/** The library's settings for models that lie here; the hub is never asked. */
export function local(library, folder) {
  library.env.allowRemoteModels = false;
  library.env.allowLocalModels = true;
  library.env.localModelPath = folder;
  return library;
}
