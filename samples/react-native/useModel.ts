// A model in a component's life: loaded when it appears, released when it goes.
import { useEffect, useState } from "react";

import * as ort from "onnxruntime-react-native";

import { load, type Model } from "edgetune-runtime";
import { warmUp } from "edgetune-runtime/warming";

import { installedBundle } from "./bundle_folder";
import { sized } from "./names";
import "./web_crypto";

export interface Loading {
  readonly model: Model | null;
  readonly error: Error | null;
  /** How far it is, for people. */
  readonly told: string;
}

/** The model in the bundle at a URL; without a network, as it was downloaded last. */
export function useModel(url: string): Loading {
  const [loading, setLoading] = useState<Loading>({ model: null, error: null, told: "…" });
  useEffect(() => {
    let isGone = false;
    let model: Model | null = null;
    async function start() {
      const began = performance.now();
      let size = 0;
      const source = await installedBundle(url, (loadedBytes, totalBytes) => {
        size = totalBytes;
        if (!isGone) setLoading((x) => ({ ...x, told: `${(loadedBytes / 1e6).toFixed(1)} of ${sized(totalBytes)}` }));
      });
      model = await load(source, { backend: ort });
      await warmUp(model);
      if (isGone) return void model.release();
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      setLoading({ model, error: null, told: `${sized(size)}, ready after ${seconds} s` });
    }
    start().catch((error: Error) => !isGone && setLoading({ model: null, error, told: "" }));
    return () => {
      isGone = true;
      void model?.release();
    };
  }, [url]);
  return loading;
}
