// The lines of Python that draw one digit of a run, the same one.
//   wanted: as the worker takes it; run: {eta, order}; i: which of the digits, from 0.
export function lines(wanted, { eta, order }, i) {
  const { S, weights, label, w, n, seeds, walk, half } = wanted;
  if (half) return filled(wanted, i);
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

// By the chapter's own function, which draws all at once.
function filled({ S, n, seeds, half, clean }, i) {
  const options = [`range(${seeds[0]}, ${seeds[0] + n})`, `steps=${S}`];
  if (clean) options.push("noised=False");
  return [
    "import base64",
    "from ddim_lib.pixels import to_float",
    "",
    `drawn = base64.urlsafe_b64decode("${half}")`,
    `x0 = torch.zeros(${n}, *model.image_shape)`,
    "x0[..., :14, :] = to_float(torch.tensor(list(drawn), dtype=torch.uint8)).view(14, 28)",
    `x = fill_in(x0, known, ${options.join(", ")})[${i}:${i + 1}]  # both as in this chapter`,
  ].join("\n");
}
