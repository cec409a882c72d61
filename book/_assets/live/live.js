// The live sampler: <div class="ddim-live"> holds a still and a sentence; this adds the controls.
// Nothing is computed, and nothing large loaded, before a click. A script of the old kind, not a
// module: from file:// browsers load no modules, and the reader shall be told so.
(() => {
  const here = new URL(".", document.currentScript.src);
  const LAST_SEED = 2 ** 32 - 1;

  const CONTROLS = `
    <div class="ddim-live-row">
      <label>Steps <i>S</i> <input name="S" inputmode="numeric" value="10" size="4"></label>
      <label>Images <input name="n" inputmode="numeric" value="16" size="4"></label>
      <label><span data-if="seeds">First seed</span><span data-if="walk" hidden>From seed</span>
        <input name="seed" inputmode="numeric" value="0" size="10"></label>
      <label data-if="walk" hidden>to seed
        <input name="to" inputmode="numeric" value="8" size="10"></label>
      <label data-if="seeds">η <input name="eta" type="range" min="0" max="1" step="0.1" value="0">
        <output name="etaShown">0</output></label>
    </div>
    <div class="ddim-live-row">
      <label data-if="seeds"><input name="beside" type="checkbox" checked>
        DDPM (η = 1) beside it: same <i>S</i>, same noise</label>
      <label><input name="walk" type="checkbox"> Walk between two seeds (η = 0)</label>
    </div>
    <div class="ddim-live-row" role="radiogroup" aria-label="What to show">
      <span>Show</span>
      <label><input name="show" type="radio" value="x" checked>
        <i>x<sub>t</sub></i>, the picture so far</label>
      <label><input name="show" type="radio" value="x0">
        <i>f<sub>θ</sub></i>(<i>x<sub>t</sub></i>), the <i>x</i><sub>0</sub> that the network
        predicts</label>
    </div>
    <div class="ddim-live-row">
      <button type="submit" name="sample">Sample</button>
      <button type="button" name="stop" aria-disabled="true">Stop</button>
      <progress hidden aria-label="Loading the network"></progress>
    </div>
    <p class="ddim-live-status" role="status" aria-live="polite"></p>
    <p class="ddim-live-problem" role="alert" hidden></p>`;

  // A whole number from a field, or an error that says what is wrong.
  function whole(form, name, label, from, to) {
    const field = form.elements[name];
    const text = field.value.trim();
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    const wrong = !(value >= from && value <= to);
    field.setAttribute("aria-invalid", String(wrong));
    if (!wrong) return value;
    field.focus();
    throw new Error(`${label} must be a whole number from ${from} to ${to}, not "${text}".`);
  }

  function settings(form) {
    const { walk, eta, beside, show } = form.elements;
    // Reading stops at the first wrong field: no other may keep its mark from the last time.
    for (const field of form.querySelectorAll("[aria-invalid=true]")) field.setAttribute("aria-invalid", "false");
    const S = whole(form, "S", "Steps S", 1, 100);
    const n = whole(form, "n", "Images", walk.checked ? 2 : 1, 16);
    if (walk.checked) {
      const from = whole(form, "seed", "From seed", 0, LAST_SEED);
      const to = whole(form, "to", "To seed", 0, LAST_SEED);
      return { S, n, show: show.value, etas: [0], walk: { from, to, n } };
    }
    // Every image has a seed of its own, and the last one must be a seed too.
    const first = whole(form, "seed", "First seed", 0, LAST_SEED - n + 1);
    const seeds = Array.from({ length: n }, (_, i) => first + i);
    const etas = [Number(eta.value)];
    if (beside.checked && etas[0] !== 1) etas.push(1);
    return { S, n, show: show.value, etas, seeds };
  }

  // What keeps this browser from sampling, as a sentence; or nothing.
  function obstacle() {
    if (location.protocol === "file:") {
      return "The live sampler needs a server, which a page opened from a file does not have: in " +
        "the book's folder run make serve. All else on this page works as it is.";
    }
    if (typeof WebAssembly !== "object") {
      return "The network runs on WebAssembly, which this browser lacks or has switched off.";
    }
    if (typeof DecompressionStream !== "function" || typeof Worker !== "function") {
      return "The live sampler needs a newer browser: Chrome 80, Firefox 114 or Safari 16.4.";
    }
    return null;
  }

  function enhance(element) {
    const stills = [...element.children];
    for (const still of stills) still.hidden = !still.querySelector("img") && !still.matches("img");
    const form = document.createElement("form");
    form.noValidate = true;
    form.setAttribute("aria-label", "Live sampler");
    form.innerHTML = CONTROLS;
    element.append(form);
    const problem = form.querySelector("[role=alert]");
    const tell = (sentence) => {
      problem.textContent = sentence ?? "";
      problem.hidden = !sentence;
    };
    let session = null;

    form.elements.eta.addEventListener("input", () => {
      form.elements.etaShown.value = form.elements.eta.value;
    });
    form.elements.walk.addEventListener("change", () => {
      const walking = form.elements.walk.checked;
      for (const part of form.querySelectorAll("[data-if]")) {
        part.hidden = (part.dataset.if === "walk") !== walking;
      }
    });
    form.addEventListener("change", (event) => {
      if (event.target.name === "show") session?.show(event.target.value);
    });
    form.elements.stop.addEventListener("click", () => session?.stop());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (form.elements.sample.getAttribute("aria-disabled") === "true") return;
      tell(obstacle());
      if (problem.textContent) return;
      let wanted;
      try {
        wanted = settings(form);
      } catch (error) {
        tell(error.message);
        return;
      }
      form.elements.sample.setAttribute("aria-disabled", "true");
      element.ddimResult = undefined;
      try {
        const { Session } = await import(new URL("session.js", here));
        session ??= new Session(element, form, tell, () => {
          for (const still of stills) still.hidden = true;
        });
        session.start(wanted);
      } catch (error) {
        form.elements.sample.setAttribute("aria-disabled", "false");
        tell(`The live sampler did not load (${error.message}). Press Sample to try again.`);
      }
    });
  }

  function ready() {
    document.querySelectorAll(".ddim-live").forEach(enhance);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ready);
  else ready();
})();
