// The live sampler: <div class="ddim-live"> holds a still and a sentence; this adds the controls.
// Nothing is computed, and nothing large loaded, before a click. A script of the old kind, not a
// module: from file:// browsers load no modules.
(() => {
  const here = new URL(".", document.currentScript.src);
  const LAST_SEED = 2 ** 32 - 1;
  // A digit's width in its own pixels with what is between two (grid.js), a pixel's largest size.
  const DIGIT = 30;
  const LARGEST = 4;
  // One instruction of SIMD, which the runtime needs.
  const SIMD = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10,
    8, 1, 6, 0, 65, 0, 253, 15, 11]);

  const number = (name, label, value, size = 10) => `<label>${label}
    <input name="${name}" inputmode="numeric" value="${value}" size="${size}"></label>`;
  const steps = (value) => number("S", "Steps <i>S</i>", value, 4);

  const ALL = `
    <div class="ddim-live-row">
      ${steps(10)} ${number("n", "Images", 16, 4)}
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
    </div>`;
  const row = (...controls) => `<div class="ddim-live-row">${controls.join("")}</div>`;
  const WALK = `
    ${row(number("seed", "From seed", 5), number("to", "to seed", 1), steps(20))}
    <div class="ddim-live-row" role="radiogroup" aria-label="Which way">
      <span>By</span>
      <label><input name="way" type="radio" value="slerp" checked> slerp, along the shell</label>
      <label><input name="way" type="radio" value="lerp"> lerp, the straight line</label>
    </div>`;

  // What a place shows, by its data-view: what the form has, how many pictures stand beside each
  // other, the columns and rows of digits in each, and what nobody chooses.
  const VIEWS = {
    all: { form: ALL, pictures: 2, columns: 4, rows: 4, costs: true },
    prediction: { form: row(steps(20), number("seed", "First seed", 0)), pictures: 2, columns: 2,
      rows: 2, n: 4, etas: [0] },
    family: { form: row(steps(10), number("seed", "Seed", 0)), pictures: 5, columns: 1, rows: 1,
      n: 1, etas: [0, 0.2, 0.5, 1, "hat"] },
    walk: { form: WALK, pictures: 1, columns: 5, rows: 3, n: 15 },
    fill: { form: row(steps(20), number("seed", "First seed", 8)), pictures: 1, columns: 4, rows: 2,
      n: 8, etas: [1], pen: true },
  };

  const BUTTONS = `
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

  function settings(form, view) {
    const { walk, to, way, eta, beside, show, digit, w, half, put } = form.elements;
    if (view.pen && !half) throw new Error("The pen did not load. Load the page again.");
    // Reading stops at the first wrong field: no other may keep its mark from the last time.
    const wrong = form.querySelectorAll("[aria-invalid=true]");
    for (const field of wrong) field.setAttribute("aria-invalid", "false");
    const S = whole(form, "S", "Steps S", 1, 100);
    const walking = walk ? walk.checked : Boolean(to);
    const n = view.n ?? whole(form, "n", "Images", walking ? 2 : 1, 16);
    const network = digit?.value
      ? { weights: "mnist-labels", label: Number(digit.value), w: Number(w.value) }
      : { weights: "mnist", label: null, w: 1 };
    const all = { S, n, show: show?.value ?? "x", ...network };
    if (walking) {
      const from = whole(form, "seed", "From seed", 0, LAST_SEED);
      const end = whole(form, "to", "To seed", 0, LAST_SEED);
      const along = { from, to: end, n, way: way?.value ?? "slerp" };
      return { ...all, runs: [{ eta: 0, order: 1 }], walk: along };
    }
    // Every image has a seed of its own, and the last one must be a seed too.
    const first = whole(form, "seed", view.n === 1 ? "Seed" : "First seed", 0, LAST_SEED - n + 1);
    const seeds = Array.from({ length: n }, (_, i) => first + i);
    if (half) Object.assign(all, { half: half.value, clean: put.value === "clean" });
    if (view.etas) return { ...all, runs: view.etas.map((eta) => ({ eta, order: 1 })), seeds };
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

  // How large the pictures beside each other may be in this place; fewer of them are as large, so
  // that the place keeps its height. A digit's pixel gets whole pixels of the screen; where that
  // would leave much of a small place empty, the place is filled and smoothed.
  function fit(place, { pictures, columns, rows }) {
    const gap = pictures > 2 ? 8 : 16;
    const width = (place.clientWidth - (pictures - 1) * gap) / pictures;
    const most = Math.min(LARGEST, width / (columns * DIGIT - 2));
    const dense = window.devicePixelRatio || 1;
    const whole = Math.floor(most * dense) / dense;
    const pixel = whole < 2 ? most : whole;
    const sizes = { pixel: `${pixel}px`, high: `${pixel * (rows * DIGIT - 2)}px`, gap: `${gap}px`,
      width: `${width}px` };
    for (const name in sizes) place.style.setProperty(`--ddim-live-${name}`, sizes[name]);
    place.classList.toggle("ddim-live-smooth", whole < 2);
  }

  function enhance(element) {
    const view = VIEWS[element.dataset.view ?? "all"];
    const stills = document.createElement("div");
    stills.append(...element.childNodes);
    for (const still of stills.children) {
      still.hidden = !still.querySelector("img") && !still.matches("img");
    }
    if (!stills.querySelector("img")) {
      stills.className = "ddim-live-empty";
      stills.insertAdjacentHTML("beforeend", "<p>Press <i>Sample</i>: the pictures come here.</p>");
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
    form.innerHTML = view.form + BUTTONS;
    element.append(place, form);
    element.insertAdjacentHTML("beforeend", PYTHON);
    fit(place, view);
    new ResizeObserver(() => fit(place, view)).observe(place);
    const problem = form.querySelector("[role=alert]");
    const tell = (sentence) => {
      problem.textContent = sentence ?? "";
      problem.hidden = !sentence;
    };
    let session = null;

    // Numbers beside the sliders, and the parts that belong to what is chosen.
    const follow = () => {
      const { eta, etaShown, w, wShown, walk, digit } = form.elements;
      if (!w) return;
      etaShown.value = eta.value;
      wShown.value = w.value;
      for (const part of form.querySelectorAll("[data-if]")) {
        part.hidden = (part.dataset.if === "walk") !== walk.checked;
      }
      // Its room stays: nothing below moves when a digit is chosen.
      w.closest("span").style.visibility = digit.value ? "" : "hidden";
    };
    follow();
    const pen = view.pen && !obstacle() && import(new URL("pen.js", here)).then(
      ({ Pen }) => new Pen(form), () => null);
    // A link to somebody's settings: #sampler:S=10&n=16 and so on.
    const setFromAddress = async () => {
      if (!location.hash.startsWith("#sampler:") || obstacle()) return;
      try {
        const { read } = await import(new URL("address.js", here));
        const drawn = await pen;
        tell(read(form, location.hash));
        follow();
        if (drawn) drawn.show();
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
        wanted = settings(form, view);
      } catch (error) {
        tell(error.message);
        return;
      }
      form.elements.sample.setAttribute("aria-disabled", "true");
      element.ddimResult = undefined;
      try {
        const { Session } = await import(new URL("session.js", here));
        session ??= new Session(element, place, form, view, tell);
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
