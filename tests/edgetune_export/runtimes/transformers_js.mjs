// Greedy tokens by transformers.js: `node transformers_js.mjs FOLDER IDS COUNT`, ids and answer as JSON.
// The package is found from the working directory.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.cwd()}/`);
const { env, AutoModelForCausalLM, Tensor } = await import(pathToFileURL(require.resolve("@huggingface/transformers")));
const [folder, ids, count] = [process.argv[2], JSON.parse(process.argv[3]), Number(process.argv[4])];
env.allowRemoteModels = false;
env.localModelPath = "";
const model = await AutoModelForCausalLM.from_pretrained(folder, {
  dtype: "fp32", device: "cpu", subfolder: "", model_file_name: "model",
});
const row = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
const out = await model.generate({
  inputs: row(ids), attention_mask: row(ids.map(() => 1)), do_sample: false, max_new_tokens: count,
});
console.log(JSON.stringify(out.tolist()[0].map(Number).slice(ids.length)));
