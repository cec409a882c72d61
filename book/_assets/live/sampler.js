// The sampler of ddim_lib/sampling.py, with the papers' numbers of equations.

// Which levels to visit: floor(T i / S), i = 1..S, as pairs (t, s) from T down to s = 0.
export function pairs(T, S) {
  const taus = Array.from({ length: S + 1 }, (_, i) => Math.floor((T * i) / S));
  return Array.from({ length: S }, (_, i) => [taus[S - i], taus[S - i - 1]]);
}

// How much fresh noise the step t -> s adds (eq. 16). eta 0: DDIM, 1: DDPM.
export function sigma(alphaT, alphaS, eta) {
  return eta * Math.sqrt((1 - alphaS) / (1 - alphaT)) * Math.sqrt(1 - alphaT / alphaS);
}

// f_theta(x_t), the picture that x_t would come from, were eps its noise (eq. 9).
export function predictX0(x, eps, alphaT) {
  const noise = Math.sqrt(1 - alphaT);
  const signal = Math.sqrt(alphaT);
  return x.map((value, i) => (value - noise * eps[i]) / signal);
}

// x_t from a picture and its noise (eq. 1).
export function addNoise(x0, eps, alphaT) {
  const noise = Math.sqrt(1 - alphaT);
  const signal = Math.sqrt(alphaT);
  return x0.map((value, i) => signal * value + noise * eps[i]);
}

// The noise of x_t, were x0 its picture: the same equation, solved for eps.
export function noiseIn(x, x0, alphaT) {
  const noise = Math.sqrt(1 - alphaT);
  const signal = Math.sqrt(alphaT);
  return x.map((value, i) => (value - signal * x0[i]) / noise);
}

// The prediction halfway through the step t -> s, from two calls: DPM-Solver++(2M), algorithm 2.
export function extrapolateX0(x0, before, alphaBefore, alphaT, alphaS) {
  const place = (alpha) => Math.log(alpha / (1 - alpha)) / 2;
  const share = (place(alphaS) - place(alphaT)) / (2 * (place(alphaT) - place(alphaBefore)));
  return x0.map((value, i) => value + share * (value - before[i]));
}

// One transition to level s (eq. 12). z is not used where alphaS = 1: the last step adds no noise.
// eta "hat": DDPM with its larger noise, and the old noise as for 1.
export function step(x0, eps, alphaT, alphaS, eta, z) {
  const hat = eta === "hat";
  const inside = sigma(alphaT, alphaS, hat ? 1 : eta);
  const forZ = hat ? Math.sqrt(1 - alphaT / alphaS) : inside;
  const forEps = Math.sqrt(Math.max(1 - alphaS - inside ** 2, 0));
  const signal = Math.sqrt(alphaS);
  if (alphaS === 1 || eta === 0) return x0.map((value, i) => signal * value + forEps * eps[i]);
  return x0.map((value, i) => signal * value + forEps * eps[i] + forZ * z[i]);
}

// Classifier-free guidance: the noise without a label, and on along the way to that with it.
export function guide(uncond, cond, w) {
  return uncond.map((value, i) => value + w * (cond[i] - value));
}

// Walk from x_T to pictures. Yields {t, x, x0} for each visited t, with the x_t that the network
// saw and its prediction of x_0; at last t = 0 with the result.
//   network: async (x, t) -> eps, Float32Arrays with one image after the other.
//   alpha: alpha_0..alpha_T. noise: a source of z, needed where eta is not 0.
//   order: 1, or 2 with eta = 0; the first step and the last are of order 1.
export async function* sampleSteps({ network, alpha, S, eta, order, start, noise }) {
  let x = start;
  let before = null;
  for (const [t, s] of pairs(alpha.length - 1, S)) {
    const eps = await network(x, t);
    const x0 = predictX0(x, eps, alpha[t]);
    yield { t, x, x0 };
    const z = eta !== 0 && s > 0 ? noise() : null;
    if (order === 2 && before && s > 0) {
      const guess = extrapolateX0(x0, before.x0, before.alpha, alpha[t], alpha[s]);
      x = step(guess, noiseIn(x, guess, alpha[t]), alpha[t], alpha[s], eta, z);
    } else {
      x = step(x0, eps, alpha[t], alpha[s], eta, z);
    }
    before = { x0, alpha: alpha[t] };
  }
  yield { t: 0, x, x0: x };
}

// Filling in, as `fill_in` of chapter 9: before each call the known pixels are put back, with the
// noise of level t or clean. Yields as sampleSteps.
//   picture: x_0 where it is known. known: by the place of a pixel, whether it is.
//   noise: a source of noise of the shape of x.
export async function* fillSteps({ network, alpha, S, eta, start, picture, known, clean, noise }) {
  const put = (given, x) => x.map((value, i) => (known(i) ? given[i] : value));
  let x = start;
  for (const [t, s] of pairs(alpha.length - 1, S)) {
    x = put(clean ? picture : addNoise(picture, noise(), alpha[t]), x);
    const eps = await network(x, t);
    const x0 = predictX0(x, eps, alpha[t]);
    yield { t, x, x0 };
    x = step(x0, eps, alpha[t], alpha[s], eta, noise());
  }
  x = put(picture, x);
  yield { t: 0, x, x0: x };
}
