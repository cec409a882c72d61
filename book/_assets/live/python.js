// The lines of Python that draw one digit of a run, the same one.
//   wanted: as the worker takes it; run: {eta, order}; i: which of the digits, from 0.
export function lines({ S, weights, label, w, n, seeds, walk }, { eta, order }, i) {
  const start = walk
    ? [
        `ends = ddim_lib.noise_from_seeds([${walk.from}, ${walk.to}], model.image_shape)`,
        walk.way === "lerp"
          ? `x_T = ends[:1].lerp(ends[1:], ${i} / ${n - 1})`
          : `x_T = ddim_lib.slerp(ends[:1], ends[1:], ${i} / ${n - 1})`,
      ]
    : [];
  const options = [walk ? "x_T=x_T" : `seeds=[${seeds[i]}]`, `steps=${S}`];
  if (eta !== 0) options.push(`eta=${JSON.stringify(eta)}`);
  if (order !== 1) options.push(`order=${order}`);
  if (label !== null) options.push(`labels=${label}`);
  if (w !== 1) options.push(`guidance=${w}`);
  return [
    `model, schedule = ddim_lib.load_pretrained("${weights}")`,
    ...start,
    `x = ddim_lib.sample(model, schedule, ${options.join(", ")})`,
  ].join("\n");
}
