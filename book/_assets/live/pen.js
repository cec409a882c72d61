// Where the reader draws the upper half of a digit: with a finger, the mouse, or arrow keys.

import { HIGH, WIDE, read, write } from "./half.js";

// A stroke's width, in pixels of the digit; MNIST's are about as thick.
const THICK = 2.6;
// What stands there at first: an arch, with which several digits begin.
const ARCH = [[8, 15], [8.5, 10], [11, 6.8], [14, 6], [17, 6.8], [19.5, 10], [20, 15]];
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const HTML = `
  <div class="ddim-live-row">
    <div class="ddim-live-pen"><canvas width="${WIDE}" height="${HIGH}" tabindex="0"
      role="application" aria-label="The upper half of a digit. Arrow keys move the pen, with Shift
      they draw."></canvas><i></i></div>
    <div>
      <p>Draw the upper half of a digit: with a finger, the mouse, or arrow keys and Shift.</p>
      <button type="button" name="clear">Clear</button>
    </div>
    <input name="half" style="display: none">
  </div>
  <div class="ddim-live-row" role="radiogroup" aria-label="How the half is put back">
    <span>Before each call put it back</span>
    <label><input name="put" type="radio" value="noised" checked> with the noise of
      level <i>t</i></label>
    <label><input name="put" type="radio" value="clean"> clean</label>
  </div>`;

export class Pen {
  constructor(form) {
    form.insertAdjacentHTML("afterbegin", HTML);
    this.field = form.elements.half;
    this.canvas = form.querySelector("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.mark = this.canvas.nextElementSibling;
    this.at = [14, 7];
    this.begin();
    this.strokes = [ARCH];
    this.draw();
    // What the form goes back to where an address says nothing of it.
    this.field.defaultValue = this.field.value;
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.strokes.push([]);
      this.follow(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) this.follow(event);
    });
    canvas.addEventListener("keydown", (event) => this.key(event));
    form.elements.clear.addEventListener("click", () => {
      this.begin();
      this.draw();
    });
  }

  // No strokes, on black or on what is given: grey levels.
  begin(greys) {
    this.ground = new ImageData(WIDE, HIGH);
    for (let i = 0; i < WIDE * HIGH; i++) {
      this.ground.data.fill(greys?.[i] ?? 0, 4 * i, 4 * i + 3);
      this.ground.data[4 * i + 3] = 255;
    }
    this.strokes = [];
  }

  // What the form's field says, where that came from an address. An error where it is no half.
  show() {
    this.begin(read(this.field.value));
    this.draw();
  }

  follow({ offsetX, offsetY }) {
    const pixel = this.canvas.clientWidth / WIDE;
    this.strokes.at(-1).push([offsetX / pixel, offsetY / pixel]);
    this.draw();
  }

  key(event) {
    const step = KEYS[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const [x, y] = this.at;
    this.at = [Math.min(WIDE, Math.max(0, x + step[0])), Math.min(HIGH, Math.max(0, y + step[1]))];
    if (event.shiftKey) this.strokes.push([[x, y], this.at]);
    this.draw();
  }

  // Each stroke as one line: drawn piece by piece its soft edge would add up.
  draw() {
    const { context } = this;
    context.putImageData(this.ground, 0, 0);
    Object.assign(context, { strokeStyle: "white", lineWidth: THICK, lineCap: "round",
      lineJoin: "round" });
    for (const [first, ...rest] of this.strokes) {
      context.beginPath();
      context.moveTo(...first);
      for (const point of rest.length ? rest : [first]) context.lineTo(...point);
      context.stroke();
    }
    const { data } = context.getImageData(0, 0, WIDE, HIGH);
    this.field.value = write(data.filter((_, i) => i % 4 === 0));
    this.mark.style.left = `${(100 * this.at[0]) / WIDE}%`;
    this.mark.style.top = `${(100 * this.at[1]) / HIGH}%`;
  }
}
