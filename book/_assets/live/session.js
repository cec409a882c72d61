// One live sampler's runs: asks the worker, draws what comes back, lets the reader step back.

import { Grid } from "./grid.js";

const WAIT = "Loading the network and its runtime, 6 MB, once for this visit.";

export class Session {
  // tell: shows a sentence about a problem, or hides it. onDraw: called before the first picture.
  constructor(element, form, tell, onDraw) {
    Object.assign(this, { element, form, tell, onDraw });
    this.id = 0;
    this.worker = null;
    this.loaded = false;
    this.grids = [];
    this.status = form.querySelector("[role=status]");
    this.progress = form.querySelector("progress");
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.output = document.createElement("div");
    this.output.className = "ddim-live-output";
    this.output.hidden = true;
    this.output.innerHTML = `
      <div class="ddim-live-grids"></div>
      <label class="ddim-live-back">Step <input type="range" min="0" step="1">
        <output></output></label>`;
    this.slider = this.output.querySelector("input");
    this.at = this.output.querySelector("output");
    this.slider.addEventListener("input", () => this.draw(Number(this.slider.value)));
    element.append(this.output);
    new ResizeObserver(() => this.fit()).observe(element);
  }

  start(wanted) {
    this.wanted = wanted;
    this.id += 1;
    this.running = true;
    this.shown = 0;
    this.runs = wanted.etas.map((eta) => ({ eta, name: name(eta), steps: [], seconds: 0 }));
    this.buttons();
    this.slider.disabled = true;
    this.status.textContent = this.loaded ? "Sampling." : WAIT;
    this.progress.hidden = this.loaded;
    if (!this.worker) {
      this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
      this.worker.onmessage = ({ data }) => this.receive(data);
      this.worker.onerror = (event) => {
        event.preventDefault();
        this.fail(event.message || "a script did not load");
      };
    }
    const { S, etas, seeds, walk } = wanted;
    this.worker.postMessage({ id: this.id, S, etas, seeds, walk });
  }

  receive(message) {
    if (message.type === "loading" && message.total) {
      this.progress.value = message.loaded / message.total;
    }
    if (message.type === "ready") this.loaded = true;
    // What still comes of a stopped run is of no use.
    if (message.id !== this.id || !this.running) return;
    if (message.type === "ready") {
      this.progress.hidden = true;
      this.status.textContent = "Sampling.";
    }
    if (message.type === "step") this.step(message);
    if (message.type === "done") this.finish();
    if (message.type === "error") this.fail(message.message);
  }

  step({ run, t, x, x0, seconds }) {
    if (!this.runs[0].steps.length) this.prepare();
    this.runs[run].steps.push({ t, x, x0 });
    this.runs[run].seconds += seconds;
    if (run < this.runs.length - 1) return;
    const index = this.runs[run].steps.length - 1;
    this.slider.max = index;
    if (!this.still.matches) this.draw(index);
  }

  // The places for this run's pictures, made when the first one has come.
  prepare() {
    this.onDraw();
    this.output.hidden = false;
    this.grids = this.runs.map((run) => new Grid(run.name, this.wanted));
    this.output.firstElementChild.replaceChildren(...this.grids.map((grid) => grid.figure));
    this.fit();
  }

  finish() {
    const { S, n } = this.wanted;
    const calls = S * this.runs.length;
    const seconds = this.runs.reduce((sum, run) => sum + run.seconds, 0);
    this.status.textContent = `Done: ${n} ${n > 1 ? "digits" : "digit"}, S = ${S}, ${calls} ` +
      `network ${calls > 1 ? "calls" : "call"} in ${seconds.toFixed(2)} s.`;
    this.runs.forEach((run, i) => this.grids[i].cost(S, run.seconds));
    this.element.ddimResult = {
      ...this.wanted,
      shape: [n, 1, 28, 28],
      runs: this.runs.map((run) => ({ ...run, calls: S, x: run.steps[S].x })),
    };
    this.end();
  }

  stop() {
    if (!this.running) return;
    this.worker.postMessage({ stop: true });
    // Both runs to the same length, so that the slider has a picture for each.
    const done = Math.min(...this.runs.map((run) => run.steps.length));
    for (const run of this.runs) run.steps.length = done;
    this.status.textContent = done
      ? `Stopped after ${done} of ${this.wanted.S} steps.`
      : "Stopped before the first step.";
    this.end();
  }

  fail(reason) {
    this.worker?.terminate();
    this.worker = null;
    this.loaded = false;
    this.status.textContent = "";
    this.tell(`The live sampler could not go on (${reason}). Press Sample to try again.`);
    this.end();
  }

  end() {
    this.running = false;
    this.progress.hidden = true;
    this.slider.disabled = false;
    this.buttons();
    // What fails or is stopped before its first step has nothing to show.
    const { length } = this.runs[0].steps;
    this.output.hidden = !length;
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

  draw(index) {
    const { S, show } = this.wanted;
    this.shown = index;
    this.slider.value = index;
    const { t } = this.runs[0].steps[index];
    const where = `${index} of ${S}, t = ${t}`;
    this.at.textContent = where;
    this.slider.setAttribute("aria-valuetext", where);
    this.grids.forEach((grid, i) => {
      const step = this.runs[i].steps[index];
      if (step) grid.draw(step[show], `step ${where}: ${show === "x" ? "x_t" : "f_θ(x_t)"}`);
    });
  }

  fit() {
    const width = this.output.clientWidth;
    if (!this.grids.length || !width) return;
    const side = this.grids.length > 1 && this.grids[0].scale((width - 16) / 2) >= 2;
    for (const grid of this.grids) grid.resize(side ? (width - 16) / 2 : width);
  }
}

function name(eta) {
  return eta === 0 ? "DDIM, η = 0" : eta === 1 ? "DDPM, η = 1" : `Between, η = ${eta}`;
}
