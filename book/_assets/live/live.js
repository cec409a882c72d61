// The live sampler: <div class="ddim-live"> holds a still and a sentence; this adds the controls.
// Nothing is computed, and nothing large loaded, before a click. A script of the old kind, not a
// module: from file:// browsers load no modules.
(() => {
  const here = new URL(".", document.currentScript.src);
  const LAST_SEED = 2 ** 32 - 1;
  // A picture's width in pixels of a digit: four digits and what is between them (grid.js).
  const ACROSS = 118;
  const LARGEST = 4;
  // One instruction of SIMD, which the runtime needs.
  const SIMD = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10,
    8, 1, 6, 0, 65, 0, 253, 15, 11]);

  const CONTROLS = `
    <div class="ddim-live-row">
      <label>Steps <i>S</i> <input name="S" inputmode="numeric" value="10" size="4"></label>
      <label>Images <input name="n" inputmode="numeric" value="16" size="4"></label>
      <label><span data-if="seeds">First seed</span><span data-if="walk" hidden>From seed</span>
        <input name="seed" inputmode="numeric" value="0" size="10"></label>
      <label data-if="walk" hidden>to seed
        <input name="to" inputmode="numeric" value="8" size="10"></label>
      <span data-if="seeds"><label>η
        <input name="eta" type="range" min="0" max="1" step="0.1" value="0"></label>
        <output name="etaShown" aria-live="off">0</output></span>
    </div>
    <div class="ddim-live-row">
      <label data-if="seeds">Beside it, with the same <i>S</i> and noise
        <select name="beside">
          <option value="ddpm">DDPM (η = 1)</option>
          <option value="order2">order 2 (η = 0; the chapter on solvers)</option>
          <option value="">nothing</option>
        </select></label>
      <label><input name="walk" type="checkbox"> Walk between two seeds (η = 0)</label>
    </div>
    <div class="ddim-live-row">
      <label>Digit
        <select name="digit">
          <option value="">any</option>
          ${[...Array(10).keys()].map((digit) => `<option>${digit}</option>`).join("")}
        </select></label>
      <span><label>Guidance scale <i>w</i>
        <input name="w" type="range" min="0" max="8" step="0.5" value="1"></label>
        <output name="wShown" aria-live="off">1</output></span>
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

  // Seen with digits.
  const PYTHON = `<details class="ddim-live-python" style="visibility: hidden">
    <summary>A digit of these in Python</summary>
    <label>Digit <select></select></label> <button type="button">Save as PNG</button><pre tabindex="0"><code></code></pre></details>`;

  // What may stand beside the first run.
  const BESIDE = { ddpm: { eta: 1, order: 1 }, order2: { eta: 0, order: 2 } };

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
    const { walk, eta, beside, show, digit, w } = form.elements;
    // Reading stops at the first wrong field: no other may keep its mark from the last time.
    const wrong = form.querySelectorAll("[aria-invalid=true]");
    for (const field of wrong) field.setAttribute("aria-invalid", "false");
    const S = whole(form, "S", "Steps S", 1, 100);
    const n = whole(form, "n", "Images", walk.checked ? 2 : 1, 16);
    const network = digit.value
      ? { weights: "mnist-labels", label: Number(digit.value), w: Number(w.value) }
      : { weights: "mnist", label: null, w: 1 };
    const all = { S, n, show: show.value, ...network };
    if (walk.checked) {
      const from = whole(form, "seed", "From seed", 0, LAST_SEED);
      const to = whole(form, "to", "To seed", 0, LAST_SEED);
      return { ...all, runs: [{ eta: 0, order: 1 }], walk: { from, to, n } };
    }
    // Every image has a seed of its own, and the last one must be a seed too.
    const first = whole(form, "seed", "First seed", 0, LAST_SEED - n + 1);
    const seeds = Array.from({ length: n }, (_, i) => first + i);
    const runs = [{ eta: Number(eta.value), order: 1 }];
    const other = BESIDE[beside.value];
    if (other && !(other.order === 1 && other.eta === runs[0].eta)) runs.push(other);
    return { ...all, runs, seeds };
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
      return "The live sampler needs a newer browser: Chrome 91, Firefox 114 or Safari 16.4.";
    }
    if (!WebAssembly.validate(SIMD)) {
      return "The network runs on WebAssembly with SIMD, which this browser lacks or has switched " +
        "off. Chrome 91, Firefox 114 and Safari 16.4 have it.";
    }
    return null;
  }

  // How large two pictures beside each other may be in this place; one alone is as large, so that
  // the place keeps its height. A digit's pixel gets whole pixels of the screen; where that would
  // leave much of a small place empty, the place is filled and smoothed.
  function fit(place) {
    const most = Math.min(LARGEST, (place.clientWidth - 16) / 2 / ACROSS);
    const dense = window.devicePixelRatio || 1;
    const whole = Math.floor(most * dense) / dense;
    place.style.setProperty("--ddim-live-side", `${ACROSS * (whole < 2 ? most : whole)}px`);
    place.classList.toggle("ddim-live-smooth", whole < 2);
  }

  function enhance(element) {
    const stills = document.createElement("div");
    stills.append(...element.childNodes);
    for (const still of stills.children) {
      still.hidden = !still.querySelector("img") && !still.matches("img");
    }
    const place = document.createElement("div");
    place.className = "ddim-live-place";
    place.append(stills);
    const form = document.createElement("form");
    form.noValidate = true;
    // A browser that comes back to the page would fill in what was set before, unseen by this
    // script.
    form.autocomplete = "off";
    form.setAttribute("aria-label", "Live sampler");
    form.innerHTML = CONTROLS;
    element.append(place, form);
    element.insertAdjacentHTML("beforeend", PYTHON);
    fit(place);
    new ResizeObserver(() => fit(place)).observe(place);
    const problem = form.querySelector("[role=alert]");
    const tell = (sentence) => {
      problem.textContent = sentence ?? "";
      problem.hidden = !sentence;
    };
    let session = null;

    // Numbers beside the sliders, and the parts that belong to what is chosen.
    const follow = () => {
      const { eta, etaShown, w, wShown, walk, digit } = form.elements;
      etaShown.value = eta.value;
      wShown.value = w.value;
      for (const part of form.querySelectorAll("[data-if]")) {
        part.hidden = (part.dataset.if === "walk") !== walk.checked;
      }
      // Its room stays: nothing below moves when a digit is chosen.
      w.closest("span").style.visibility = digit.value ? "" : "hidden";
    };
    follow();
    // A link to somebody's settings: #sampler:S=10&n=16 and so on.
    const setFromAddress = async () => {
      if (!location.hash.startsWith("#sampler:") || obstacle()) return;
      try {
        const { read } = await import(new URL("address.js", here));
        tell(read(form, location.hash));
        follow();
        element.scrollIntoView();
      } catch (error) {
        tell(`The address's settings could not be read (${error.message}).`);
      }
    };
    setFromAddress();
    addEventListener("hashchange", setFromAddress);
    form.addEventListener("input", ({ target }) => {
      follow();
      // Mended, or on the way: the next click looks again.
      if (target.getAttribute("aria-invalid") === "true") {
        target.setAttribute("aria-invalid", "false");
        tell();
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
        session ??= new Session(element, place, form, tell);
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
