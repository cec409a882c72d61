// The network, in a thread of its own: the page stays free while it computes.
//
// In:  {id, weights, label, w, S, runs: [{eta, order}], seeds}, or walk: {from, to, n, way} for
//      seeds, way "slerp" or "lerp";
//      label null and w 1 for a network without labels; half, the upper half of a digit as half.js
//      writes it, and clean, where one is to be filled in; {stop: true}.
// Out: {type: "loading", loaded, total} in bytes, total null where a server does not tell;
//      {type: "ready", id, weights}; {type: "done", id};
//      {type: "step", id, run, t, x, x0, seconds} for each run and step;
//      {type: "error", id, message, lost}, lost: whether no network can be asked any more.

import { HIGH, WIDE, read } from "./half.js";
import { fillNoise, startPoints, stepNoise, walkPoints } from "./noise.js";
import { fillSteps, guide, sampleSteps } from "./sampler.js";

const SIDE = 28;
const SIZE = SIDE * SIDE;
const RUNTIME = "../vendor/onnxruntime/";

// The y that means "no label".
const NONE = 10;

let runtime = null;
// By their weights: what is loaded, or on its way.
const networks = new Map();
let ready = 0;
// The request that is being answered; an older one ends when it sees that it is not.
let current = null;

self.onmessage = async ({ data }) => {
  current = data.stop ? null : data.id;
  if (data.stop) return;
  const { id, weights } = data;
  let loaded = false;
  try {
    if (!networks.has(weights)) networks.set(weights, load(weights));
    const tools = await networks.get(weights);
    loaded = true;
    self.postMessage({ type: "ready", id, weights });
    await sample(tools, data);
  } catch (error) {
    // Without this network the others go on, once one has shown that the runtime does.
    if (!loaded) networks.delete(weights);
    const lost = loaded || !ready;
    self.postMessage({ type: "error", id, message: String(error?.message ?? error), lost });
  }
};

async function load(weights) {
  const progress = { loaded: 0, totals: [], files: runtime ? 1 : 2 };
  runtime ??= loadRuntime(progress);
  const [ort, model, alpha] = await Promise.all([
    runtime,
    unpacked(`${weights}.bin`, progress),
    file(`${weights}.json`).then((response) => response.json()),
  ]);
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  ready += 1;
  // labels: one y an image, for a network that takes them.
  const ask = async (x, t, labels) => {
    const n = x.length / SIZE;
    const whole = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [n]);
    const feeds = {
      x: new ort.Tensor("float32", x, [n, 1, SIDE, SIDE]),
      t: whole(new Array(n).fill(t)),
    };
    if (labels) feeds.y = whole(labels);
    return (await session.run(feeds)).eps.data;
  };
  return { ask, alpha };
}

async function loadRuntime(progress) {
  const [ort, wasm] = await Promise.all([
    import(RUNTIME + "ort.js"),
    unpacked(RUNTIME + "ort.wasm.bin", progress),
  ]);
  // One thread: more would need headers that a plain host of files does not send.
  Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: wasm });
  return ort;
}

// The network as a walk asks it, (x, t) -> eps: without labels, or for one at guidance scale w.
function asked(ask, label, w) {
  if (label === null) return ask;
  const labels = (x, y) => new Array(x.length / SIZE).fill(y);
  if (w === 0) return (x, t) => ask(x, t, labels(x, NONE));
  if (w === 1) return (x, t) => ask(x, t, labels(x, label));
  return async (x, t) => {
    const both = new Float32Array(2 * x.length);
    both.set(x);
    both.set(x, x.length);
    const eps = await ask(both, t, [...labels(x, NONE), ...labels(x, label)]);
    return guide(eps.subarray(0, x.length), eps.subarray(x.length), w);
  };
}

async function file(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: the server answered ${response.status}`);
  return response;
}

// Files named .bin are compressed with gzip; some hosts unpack them on the way.
async function unpacked(name, progress) {
  const response = await file(name);
  const encoded = response.headers.get("Content-Encoding");
  progress.totals.push(encoded ? NaN : Number(response.headers.get("Content-Length") ?? NaN));
  const count = new TransformStream({
    transform(chunk, controller) {
      progress.loaded += chunk.length;
      const { totals, files } = progress;
      const known = totals.length === files && totals.every((n) => n > 0);
      const total = known ? totals.reduce((sum, n) => sum + n) : null;
      self.postMessage({ type: "loading", loaded: progress.loaded, total });
      controller.enqueue(chunk);
    },
  });
  const bytes = await whole(response.body.pipeThrough(count));
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  return whole(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
}

async function whole(stream) {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The half in each of n pictures, in [-1, 1] as `ddim_lib.pixels` has it; the rest is not known.
function pictures(half, n) {
  const all = new Float32Array(n * SIZE);
  const given = Float32Array.from(read(half), (grey) => grey / 127.5 - 1);
  for (let i = 0; i < n; i++) all.set(given, i * SIZE);
  return all;
}

const known = (i) => i % SIZE < WIDE * HIGH;

async function sample({ ask, alpha }, wanted) {
  const { id, S, runs, seeds, walk, half, clean, label, w } = wanted;
  const network = asked(ask, label, w);
  const start = walk
    ? walkPoints(walk.from, walk.to, walk.n, SIZE, walk.way)
    : startPoints(seeds, SIZE);
  // Every run has its own copy of the same noise.
  const walks = runs.map(({ eta, order }) => {
    const all = { network, alpha, S, eta, order, start };
    if (!half) return sampleSteps({ ...all, noise: seeds && stepNoise(seeds, SIZE) });
    const noise = fillNoise(seeds[0], start.length);
    return fillSteps({ ...all, picture: pictures(half, seeds.length), known, clean, noise });
  });
  for (let step = 0; step <= S; step++) {
    for (const [run, steps] of walks.entries()) {
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
