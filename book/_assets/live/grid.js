// A picture of several digits: one canvas; live.js says how large its pixels are on the screen.

const SIDE = 28;
// Between two digits, in pixels of a digit.
const GAP = 2;

// One of several images, which stand one after the other, values in [-1, 1]; what lies outside is
// cut off.
export function pixels(values, i) {
  const image = new ImageData(SIDE, SIDE);
  for (let p = 0; p < SIDE * SIDE; p++) {
    const grey = Math.round((values[i * SIDE * SIDE + p] + 1) * 127.5);
    image.data.fill(Math.min(255, Math.max(0, grey)), 4 * p, 4 * p + 3);
    image.data[4 * p + 3] = 255;
  }
  return image;
}

const across = (digits) => digits * SIDE + (digits - 1) * GAP;

export class Grid {
  // name: what the picture is; title: the same as it stands over it, in HTML. costs: whether it
  // will say what it cost. pick: called with the place of a digit, from 0, that is clicked.
  constructor({ name, title = name }, { n, seeds, walk, label, w }, { columns, costs }, pick) {
    this.n = n;
    let what = walk
      ? `${n} digits on the way from seed ${walk.from} to seed ${walk.to}, by ${walk.way}`
      : n > 1 ? `${n} digits, seeds ${seeds[0]} to ${seeds[n - 1]}` : `1 digit, seed ${seeds[0]}`;
    if (label !== null) what += `, label ${label} with guidance scale ${w}`;
    this.columns = Math.min(n, columns);
    this.canvas = document.createElement("canvas");
    this.canvas.width = across(this.columns);
    this.canvas.height = across(Math.ceil(n / this.columns));
    this.canvas.style.width = `calc(${this.canvas.width} * var(--ddim-live-pixel))`;
    this.canvas.setAttribute("role", "img");
    this.canvas.addEventListener("click", ({ offsetX, offsetY }) => {
      const pixel = this.canvas.width / this.canvas.clientWidth;
      const [column, row] = [offsetX, offsetY].map((at) => Math.floor((at * pixel) / (SIDE + GAP)));
      const i = row * this.columns + Math.min(column, this.columns - 1);
      if (i < n) pick(i);
    });
    // What holds for the whole run is the figure's name; the canvas says what is to be seen now.
    this.figure = document.createElement("figure");
    this.figure.setAttribute("aria-label", `${name}: ${what}`);
    const heading = document.createElement("figcaption");
    heading.innerHTML = title;
    this.figure.append(heading, this.canvas);
    if (!costs) return;
    this.note = document.createElement("p");
    this.figure.append(this.note);
  }

  // values: n images, one after the other.
  draw(values, what) {
    const context = this.canvas.getContext("2d");
    for (let i = 0; i < this.n; i++) {
      const row = Math.floor(i / this.columns);
      context.putImageData(pixels(values, i), (i % this.columns) * (SIDE + GAP), row * (SIDE + GAP));
    }
    this.canvas.setAttribute("aria-label", what);
  }

  // What it cost, under the picture.
  cost(calls, seconds) {
    const each = (seconds / calls) * 1000;
    this.note.textContent = `${seconds.toFixed(2)} s, ${calls} network ` +
      `${calls > 1 ? "calls" : "call"}, ${each.toFixed(each < 10 ? 1 : 0)} ms a call`;
  }
}
