// Labels each line of standard input, or goes on from it: node ask.mjs BUNDLE [ADAPTER] < lines.txt
import { createInterface } from "node:readline";

import { EdgetuneError, load } from "edgetune-runtime";

const [bundle, adapter] = process.argv.slice(2);
try {
  const model = await load(bundle ?? "bundle");
  for await (const line of createInterface({ input: process.stdin })) {
    if (model.kind === "encoder") {
      const { label, score } = await model.classify(line, { adapter });
      console.log(`${label}\t${score.toFixed(2)}\t${line}`);
    } else {
      for await (const { text } of model.stream(line, { adapter })) process.stdout.write(text);
      console.log();
    }
  }
} catch (error) {
  if (!(error instanceof EdgetuneError)) throw error;
  console.error(`ask: ${error.message}`);
  process.exitCode = 1;
}
