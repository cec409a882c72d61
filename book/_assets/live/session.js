// One live sampler's runs: asks the worker, draws what comes back, lets the reader step back.

import { write } from "./address.js";
import { Grid, pixels } from "./grid.js";
import { lines } from "./python.js";

// How large they are, in MB.
const RUNTIME = 3.7;
const NETWORK = 2.3;

export class Session {
  // place: where the pictures stand, until then its stills. view: as live.js has it. tell: shows a
  // sentence about a problem, or hides it.
  constructor(element, place, form, view, tell) {
    Object.assign(this, { element, form, view, tell });
    this.id = 0;
    this.worker = null;
    this.loaded = new Set();
    this.grids = [];
    this.status = form.querySelector("[role=status]");
    this.progress = form.querySelector("progress");
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.stills = place.firstElementChild;
    this.output = document.createElement("div");
    this.output.hidden = true;
    // The number is the slider's value text: as a live region it would be told at every step.
    this.output.innerHTML = `
      <div class="ddim-live-grids"></div>
      <div class="ddim-live-back"><label>Step <input type="range" min="0" step="1"></label>
        <output aria-live="off"></output></div>`;
    this.slider = this.output.querySelector("input");
    this.at = this.output.querySelector("output");
    this.slider.addEventListener("input", () => this.draw(Number(this.slider.value)));
    place.append(this.output);
    // The code of one digit, chosen by a click on it or from the list.
    this.python = element.querySelector(".ddim-live-python");
    this.digits = this.python.querySelector("select");
    this.digits.addEventListener("change", () => this.code());
    this.python.querySelector("button").addEventListener("click", () => this.save());
  }

  start(wanted) {
    this.wanted = wanted;
    this.id += 1;
    this.running = true;
    this.shown = 0;
    this.runs = wanted.runs.map((run) => ({ ...run, name: name(run), steps: [], seconds: 0 }));
    this.buttons();
    this.slider.disabled = true;
    const loaded = this.loaded.has(wanted.weights);
    this.status.textContent = loaded ? "Sampling." : this.wait();
    this.progress.removeAttribute("value");
    this.progress.hidden = loaded;
    if (!this.worker) {
      this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
      this.worker.onmessage = ({ data }) => this.receive(data);
      this.worker.onerror = (event) => {
        event.preventDefault();
        this.fail(event.message || "a script did not load");
      };
    }
    this.worker.postMessage({ id: this.id, ...wanted });
    history.replaceState(history.state, "", write(this.form));
  }

  // What is loaded first, and how much that is. The sentence stays true to the end of the run: a
  // second one, when the network is there, would be one more to listen to.
  wait() {
    const network = this.wanted.label === null ? "the network" : "the network with labels";
    const [what, size] = this.loaded.size
      ? [network, NETWORK]
      : [`${network} and its runtime`, RUNTIME + NETWORK];
    return `Loading ${what}, ${size} MB, once for this visit; then sampling.`;
  }

  receive(message) {
    if (message.type === "loading" && message.total) {
      // All is there: how long WebAssembly compiles, nobody knows.
      if (message.loaded < message.total) this.progress.value = message.loaded / message.total;
      else this.progress.removeAttribute("value");
    }
    if (message.type === "ready") this.loaded.add(message.weights);
    // What still comes of a stopped run is of no use.
    if (message.id !== this.id || !this.running) return;
    if (message.type === "ready") this.progress.hidden = true;
    if (message.type === "step") this.step(message);
    if (message.type === "done") this.finish();
    if (message.type === "error") this.fail(message.message, message.lost);
  }

  step({ run, t, x, x0, seconds }) {
    if (!this.runs[0].steps.length) this.prepare();
    this.runs[run].steps.push({ t, x, x0 });
    this.runs[run].seconds += seconds;
    if (run < this.runs.length - 1) return;
    const index = this.runs[run].steps.length - 1;
    this.slider.max = index;
    if (this.still.matches) this.count(index);
    else this.draw(index);
  }

  // The places for this run's pictures, made when the first one has come.
  prepare() {
    this.showing(true);
    this.panels = panels(this.element.dataset.view, this.wanted, this.runs);
    this.grids = this.panels.map((panel) =>
      new Grid(panel, this.wanted, this.view, (i) => this.pick(panel.run, i)));
    this.list();
    this.output.firstElementChild.replaceChildren(...this.grids.map((grid) => grid.figure));
  }

  // The digits of all runs, to choose from.
  list() {
    const { n, seeds, walk } = this.wanted;
    const places = [...Array(n).keys()];
    const names = places.map((i) => (walk ? `${i + 1} of ${n}` : `seed ${seeds[i]}`));
    // As they are drawn, whatever the next run will be.
    this.drawn = { wanted: this.wanted, runs: this.runs };
    this.digits.replaceChildren(...this.runs.map((run, at) => {
      const group = document.createElement("optgroup");
      group.label = run.name;
      group.append(...names.map((text, i) => new Option(text, `${at},${i}`)));
      return group;
    }));
    this.code();
  }

  pick(run, i) {
    this.digits.value = `${run},${i}`;
    this.code();
    this.python.open = true;
    this.python.scrollIntoView({ block: "nearest" });
  }

  code() {
    const [run, i] = this.digits.value.split(",").map(Number);
    const { wanted, runs } = this.drawn;
    this.python.querySelector("code").textContent = lines(wanted, runs[run], i);
  }

  // The chosen digit as a PNG of 28 by 28 pixels.
  save() {
    const [run, i] = this.digits.value.split(",").map(Number);
    const image = pixels(this.drawn.runs[run].steps.at(-1).x, i);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d").putImageData(image, 0, 0);
    const name = this.digits.selectedOptions[0].text.replaceAll(" ", "-");
    const link = document.createElement("a");
    Object.assign(link, { href: canvas.toDataURL(), download: `${name}.png` }).click();
  }

  // The pictures drawn, or the stills that stood there before.
  showing(drawn) {
    this.output.hidden = !drawn;
    this.python.style.visibility = drawn ? "" : "hidden";
    // Their room stays: the form below does not move.
    this.stills.style.visibility = drawn ? "hidden" : "";
  }

  finish() {
    const { S } = this.wanted;
    const n = this.wanted.n * (this.view.etas?.length ?? 1);
    const calls = S * this.callsAStep();
    const seconds = this.runs.reduce((sum, run) => sum + run.seconds, 0);
    const all = calls * this.runs.length;
    this.status.textContent = `Done: ${n} ${n > 1 ? "digits" : "digit"}, S = ${S}, ${all} ` +
      `network ${all > 1 ? "calls" : "call"} in ${seconds.toFixed(2)} s.`;
    if (this.view.costs) this.runs.forEach((run, i) => this.grids[i].cost(calls, run.seconds));
    this.element.ddimResult = {
      ...this.wanted,
      shape: [this.wanted.n, 1, 28, 28],
      runs: this.runs.map((run) => ({ ...run, calls, x: run.steps[S].x })),
    };
    this.end();
  }

  // With guidance, of both noises.
  callsAStep() {
    const { label, w } = this.wanted;
    return label === null || w === 0 || w === 1 ? 1 : 2;
  }

  stop() {
    if (!this.running) return;
    this.worker.postMessage({ stop: true });
    // Both runs to the same length, so that the slider has a picture for each.
    const done = Math.min(...this.runs.map((run) => run.steps.length));
    for (const run of this.runs) run.steps.length = done;
    // The first picture is the noise, before any step.
    this.status.textContent = done
      ? `Stopped after ${done - 1} of ${this.wanted.S} steps.`
      : "Stopped before the first step.";
    this.end();
  }

  // lost: whether the worker is of no more use, with all that it has loaded.
  fail(reason, lost = true) {
    if (lost) {
      this.worker?.terminate();
      this.worker = null;
      this.loaded.clear();
    }
    this.status.textContent = "";
    const other = lost ? "" : `, or choose ${this.wanted.label === null ? "a" : "any"} digit`;
    // The runtime's words where this browser cannot run it, which another click does not change.
    const advice = /no available backend/.test(reason) ? "" : ` Press Sample to try again${other}.`;
    this.tell(`The live sampler could not go on (${reason}).${advice}`);
    this.end();
  }

  end() {
    this.running = false;
    this.progress.hidden = true;
    this.slider.disabled = false;
    this.buttons();
    // What fails or is stopped before its first step has nothing to show.
    const { length } = this.runs[0].steps;
    this.showing(length > 0);
    if (length) this.draw(length - 1);
  }

  // Marked, not disabled: a disabled button would drop the keyboard's focus.
  buttons() {
    this.form.elements.sample.setAttribute("aria-disabled", String(this.running));
    this.form.elements.stop.setAttribute("aria-disabled", String(!this.running));
  }

  show(what) {
    this.wanted.show = what;
    if (this.runs[0].steps[this.shown]) this.draw(this.shown);
  }

  // Puts the slider at a step.
  count(index) {
    this.shown = index;
    this.slider.value = index;
    const where = `${index} of ${this.wanted.S}, t = ${this.runs[0].steps[index].t}`;
    this.at.textContent = where;
    this.slider.setAttribute("aria-valuetext", where);
  }

  draw(index) {
    this.count(index);
    this.grids.forEach((grid, i) => {
      const { run, show = this.wanted.show } = this.panels[i];
      const step = this.runs[run].steps[index];
      const what = show === "x" ? "x" : "The predicted picture";
      if (step) grid.draw(step[show], `${what} at level ${step.t}`);
    });
  }
}

function name({ eta, order }) {
  if (order === 2) return "Order 2, η = 0";
  if (eta === "hat") return "DDPM, sigma-hat";
  return eta === 0 ? "DDIM, η = 0" : eta === 1 ? "DDPM, η = 1" : `Between, η = ${eta}`;
}

// The pictures beside each other: of which run, which of its two pictures where the reader has no
// choice, and what they are called.
function panels(view, { walk }, runs) {
  if (view === "prediction") {
    const title = "<i>f<sub>θ</sub></i>(<i>x<sub>t</sub></i>), predicted";
    return [
      { run: 0, show: "x", name: "The walk", title: "<i>x<sub>t</sub></i>, the walk" },
      { run: 0, show: "x0", name: "The prediction", title },
    ];
  }
  if (view === "walk") return [{ run: 0, name: walk.way }];
  if (view === "fill") return [{ run: 0, name: "Completed", title: "Completed, η = 1" }];
  return runs.map(({ name, eta }, run) => {
    const title = view !== "family" ? name : eta === "hat" ? "σ̂" : `η = ${eta}`;
    return { run, name, title };
  });
}
