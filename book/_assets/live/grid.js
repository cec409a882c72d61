// A picture of several digits: one canvas, every pixel of a digit a square of whole screen pixels.

const SIDE = 28;
const COLUMNS = 4;
const LARGEST = 4;

export class Grid {
  constructor(name, { n, seeds, walk }) {
    this.name = name;
    this.n = n;
    this.what = walk
      ? `${n} digits on the way from seed ${walk.from} to seed ${walk.to}`
      : n > 1 ? `${n} digits, seeds ${seeds[0]} to ${seeds[n - 1]}` : `1 digit, seed ${seeds[0]}`;
    this.columns = Math.min(n, COLUMNS);
    this.canvas = document.createElement("canvas");
    this.canvas.width = this.columns * SIDE;
    this.canvas.height = Math.ceil(n / this.columns) * SIDE;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${name}: ${this.what}`);
    this.figure = document.createElement("figure");
    const heading = document.createElement("figcaption");
    heading.textContent = name;
    this.note = document.createElement("p");
    this.figure.append(heading, this.canvas, this.note);
  }

  // values: n images, one after the other, in [-1, 1]; what lies outside is cut off.
  draw(values, when) {
    const context = this.canvas.getContext("2d");
    for (let i = 0; i < this.n; i++) {
      const image = new ImageData(SIDE, SIDE);
      for (let p = 0; p < SIDE * SIDE; p++) {
        const grey = Math.round((values[i * SIDE * SIDE + p] + 1) * 127.5);
        image.data.fill(Math.min(255, Math.max(0, grey)), 4 * p, 4 * p + 3);
        image.data[4 * p + 3] = 255;
      }
      const row = Math.floor(i / this.columns);
      context.putImageData(image, (i % this.columns) * SIDE, row * SIDE);
    }
    this.canvas.setAttribute("aria-label", `${this.name}: ${this.what}, ${when}`);
  }

  // What it cost, under the picture.
  cost(calls, seconds) {
    const each = (seconds / calls) * 1000;
    this.note.textContent = `${seconds.toFixed(2)} s, ${calls} network ` +
      `${calls > 1 ? "calls" : "call"}, ${each.toFixed(each < 10 ? 1 : 0)} ms a call`;
  }

  // The width of a digit's pixel where the picture may be this wide, in CSS pixels: on a dense
  // screen, whole pixels of that.
  scale(width) {
    const dense = window.devicePixelRatio || 1;
    const whole = Math.floor((width / (COLUMNS * SIDE)) * dense) / dense;
    return Math.min(LARGEST, Math.max(1, whole));
  }

  resize(width) {
    this.canvas.style.width = `${this.canvas.width * this.scale(width)}px`;
  }
}
