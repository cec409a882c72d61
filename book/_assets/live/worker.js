// The network, in a thread of its own: the page stays free while it computes.
//
// In:  {id, S, etas, seeds} or {id, S, etas, walk: {from, to, n}}; {stop: true}.
// Out: {type: "loading", loaded, total} in bytes, total null where a server does not tell;
//      {type: "ready", id}; {type: "step", id, run, t, x, x0, seconds} for each run and step;
//      {type: "done", id}; {type: "error", id, message}.

import { sampleSteps } from "./sampler.js";
import { startPoints, stepNoise, walkPoints } from "./noise.js";

const SIDE = 28;
const SIZE = SIDE * SIDE;
const RUNTIME = "../vendor/onnxruntime/";

let loading = null;
// The request that is being answered; an older one ends when it sees that it is not.
let current = null;

self.onmessage = async ({ data }) => {
  current = data.stop ? null : data.id;
  if (data.stop) return;
  try {
    loading ??= load();
    const tools = await loading;
    self.postMessage({ type: "ready", id: data.id });
    await sample(tools, data);
  } catch (error) {
    self.postMessage({ type: "error", id: data.id, message: String(error?.message ?? error) });
  }
};

async function load() {
  const progress = { loaded: 0, totals: [] };
  const [ort, wasm, model, alpha] = await Promise.all([
    import(RUNTIME + "ort.js"),
    unpacked(RUNTIME + "ort.wasm.bin", progress),
    unpacked("model.bin", progress),
    file("alpha.json").then((response) => response.json()),
  ]);
  // One thread: more would need headers that a plain host of files does not send.
  Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: wasm });
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  const network = async (x, t) => {
    const n = x.length / SIZE;
    const feeds = {
      x: new ort.Tensor("float32", x, [n, 1, SIDE, SIDE]),
      t: new ort.Tensor("int64", new BigInt64Array(n).fill(BigInt(t)), [n]),
    };
    return (await session.run(feeds)).eps.data;
  };
  return { network, alpha };
}

async function file(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: the server answered ${response.status}`);
  return response;
}

// Files named .bin are compressed with gzip, and unpacked here.
async function unpacked(name, progress) {
  const response = await file(name);
  const encoded = response.headers.get("Content-Encoding");
  progress.totals.push(encoded ? NaN : Number(response.headers.get("Content-Length") ?? NaN));
  const count = new TransformStream({
    transform(chunk, controller) {
      progress.loaded += chunk.length;
      const known = progress.totals.length === 2 && progress.totals.every((n) => n > 0);
      const total = known ? progress.totals[0] + progress.totals[1] : null;
      self.postMessage({ type: "loading", loaded: progress.loaded, total });
      controller.enqueue(chunk);
    },
  });
  const stream = response.body.pipeThrough(count).pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function sample({ network, alpha }, { id, S, etas, seeds, walk }) {
  const start = walk
    ? walkPoints(walk.from, walk.to, walk.n, SIZE)
    : startPoints(seeds, SIZE);
  // Every run has its own copy of the same noise.
  const runs = etas.map((eta) =>
    sampleSteps({ network, alpha, S, eta, start, noise: seeds && stepNoise(seeds, SIZE) }),
  );
  for (let step = 0; step <= S; step++) {
    for (const [run, steps] of runs.entries()) {
      // A turn of the event loop, so that a new message is heard.
      await new Promise((resolve) => setTimeout(resolve));
      if (current !== id) return;
      const begin = performance.now();
      const { value } = await steps.next();
      const seconds = (performance.now() - begin) / 1000;
      self.postMessage({ type: "step", id, run, ...value, seconds });
    }
  }
  self.postMessage({ type: "done", id });
}
