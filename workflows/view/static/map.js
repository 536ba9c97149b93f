// The map of cells: a canvas, the mouse and the keyboard on it.

import { onWidth } from "/static/dom.js";
import { colours, number, ticks } from "/static/scale.js";

const LEFT = 44, TOP = 6, BELOW = 36, BAR = 44, TALLEST = 430;
const FONT = "12px system-ui, sans-serif";

export class CellMap {
  /** `moved(row, col, byHand)` is called when the cursor is elsewhere (null: nowhere) or its cell has other values,
   *  `chosen(row, col)` for a trace, `left()` when it is to be followed again. */
  constructor(canvas, { moved, chosen, left }) {
    Object.assign(this, { canvas, moved, chosen, left, data: null, cursor: null, framed: null });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("pointermove", (event) => this.move(this.at(event)));
    canvas.addEventListener("pointerleave", () => this.move(null));
    canvas.addEventListener("click", (event) => {
      const place = this.at(event);
      if (place) { this.move(place); chosen(...place.map((n) => n * this.data.step)); }
    });
    canvas.addEventListener("focus", () => { if (!this.cursor && this.data) this.move(this.framed ?? [0, 0]); });
    onWidth(canvas.parentElement, () => this.draw());
  }

  /** Show values [row * cols + col] with verdicts; `framed` is the cell of the trace, or null. */
  show(data, framed) {
    this.data = data;
    this.framed = framed && [Math.floor(framed[0] / data.step), Math.floor(framed[1] / data.step)];
    this.draw();
    if (this.cursor) this.moved(...this.cursor, false);
  }

  at(event) {
    if (!this.data || !this.size) return null;
    const box = this.canvas.getBoundingClientRect(), [rows, cols] = this.data.shape;
    const col = Math.floor((event.clientX - box.left - LEFT) / this.size);
    const row = Math.floor((event.clientY - box.top - TOP) / this.size);
    return row >= 0 && row < rows && col >= 0 && col < cols ? [row, col] : null;
  }

  move(place) {
    if (String(place) === String(this.cursor)) return;
    this.cursor = place;
    this.draw();
    this.moved(...(place ?? [null, null]), true);
  }

  key(event) {
    if (!this.data || event.ctrlKey || event.altKey || event.metaKey) return;
    const [rows, cols] = this.data.shape, [row, col] = this.cursor ?? this.framed ?? [0, 0];
    const to = {
      ArrowUp: [row - 1, col], ArrowDown: [row + 1, col], ArrowLeft: [row, col - 1], ArrowRight: [row, col + 1],
      Home: [row, 0], End: [row, cols - 1], PageUp: [row - 8, col], PageDown: [row + 8, col],
    }[event.key];
    if (to) {
      this.move([Math.min(Math.max(to[0], 0), rows - 1), Math.min(Math.max(to[1], 0), cols - 1)]);
    } else if (event.key === "Enter" || event.key === " ") {
      this.chosen(row * this.data.step, col * this.data.step);
    } else if (event.key === "Escape") {
      this.move(null);
      this.left();
    } else return;
    event.preventDefault();
  }

  draw() {
    if (!this.data) return;
    const [rows, cols] = this.data.shape, room = this.canvas.parentElement.clientWidth;
    this.size = Math.max(Math.min((room - LEFT - 14) / cols, TALLEST / rows), 1);
    const width = Math.min(room, Math.max(LEFT + cols * this.size + 14, 240)), height = TOP + rows * this.size + BELOW + BAR;
    const dense = Math.max(window.devicePixelRatio || 1, 2);
    if (this.canvas.width !== Math.round(width * dense) || this.canvas.height !== Math.round(height * dense)) {
      this.canvas.width = Math.round(width * dense);
      this.canvas.height = Math.round(height * dense);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = FONT;
    this.drawCells(pen, rows, cols);
    this.drawAxes(pen, rows, cols);
    this.drawBar(pen, width, TOP + rows * this.size + BELOW);
    if (this.framed) this.frame(pen, this.framed, "#fff", "#000", []);
    if (this.cursor) this.frame(pen, this.cursor, "#000", "#fff", [3, 2]);
  }

  drawCells(pen, rows, cols) {
    const { values, limits: [low, high], verdicts, palette } = this.data, table = colours(palette), size = this.size;
    for (let k = 0; k < values.length; k++) {
      const x = LEFT + (k % cols) * size, y = TOP + Math.floor(k / cols) * size;
      if (values[k] === null) {
        pen.fillStyle = "#eee";
        pen.fillRect(x, y, size, size);
        pen.strokeStyle = "#bbb";
        pen.beginPath(); pen.moveTo(x, y + size); pen.lineTo(x + size, y); pen.stroke();
        continue;
      }
      pen.fillStyle = table[Math.max(0, Math.min(255, Math.round((255 * (values[k] - low)) / (high - low))))];
      pen.fillRect(x, y, size + 0.4, size + 0.4);
    }
    pen.lineCap = "round";
    verdicts.forEach((code, k) => {
      if (code < 2 || size < 5) return; // pending and ok are what is to be expected
      const x = LEFT + (k % cols) * size, y = TOP + Math.floor(k / cols) * size, edge = size * 0.25;
      for (const [colour, thick] of [["#fff", 3], ["#000", 1.3]]) {
        pen.strokeStyle = colour; pen.lineWidth = thick;
        pen.beginPath();
        pen.moveTo(x + edge, y + edge); pen.lineTo(x + size - edge, y + size - edge);
        pen.moveTo(x + size - edge, y + edge); pen.lineTo(x + edge, y + size - edge);
        pen.stroke();
      }
    });
    pen.lineWidth = 1;
  }

  drawAxes(pen, rows, cols) {
    const { step } = this.data, size = this.size;
    pen.strokeStyle = "#666"; pen.fillStyle = "#222";
    pen.strokeRect(LEFT, TOP, cols * size, rows * size);
    pen.textAlign = "right"; pen.textBaseline = "middle";
    for (const row of ticks(0, (rows - 1) * step, Math.min(6, rows - 1), true)) {
      pen.fillText(String(row), LEFT - 5, TOP + (row / step + 0.5) * size);
    }
    pen.textAlign = "center"; pen.textBaseline = "top";
    for (const col of ticks(0, (cols - 1) * step, Math.min(6, cols - 1), true)) {
      pen.fillText(String(col), LEFT + (col / step + 0.5) * size, TOP + rows * size + 4);
    }
    pen.fillText("column (bit line)", LEFT + (cols * size) / 2, TOP + rows * size + 20);
    pen.save();
    pen.translate(2, TOP + (rows * size) / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText("row (word line)", 0, 0);
    pen.restore();
  }

  drawBar(pen, width, top) {
    const { limits: [low, high], palette, unit } = this.data, table = colours(palette);
    const named = unit ? pen.measureText(unit).width + 12 : 0, length = Math.min(width - LEFT - 24 - named, 360);
    for (let k = 0; k < 256; k++) {
      pen.fillStyle = table[k];
      pen.fillRect(LEFT + (length * k) / 256, top + 8, length / 256 + 0.6, 12);
    }
    pen.strokeStyle = "#666";
    pen.strokeRect(LEFT, top + 8, length, 12);
    pen.fillStyle = "#222"; pen.textAlign = "center"; pen.textBaseline = "top";
    for (const tick of ticks(low, high, Math.max(2, Math.floor(length / 70)))) {
      pen.fillText(number(tick), LEFT + (length * (tick - low)) / (high - low), top + 24);
    }
    pen.textAlign = "left"; pen.textBaseline = "middle";
    pen.fillText(unit, LEFT + length + 12, top + 14);
  }

  frame(pen, [row, col], inner, outer, dash) {
    const size = Math.max(this.size, 5), x = LEFT + (col + 0.5) * this.size - size / 2, y = TOP + (row + 0.5) * this.size - size / 2;
    pen.lineWidth = 4; pen.strokeStyle = outer; pen.setLineDash([]);
    pen.strokeRect(x - 1, y - 1, size + 2, size + 2);
    pen.lineWidth = 1.6; pen.strokeStyle = inner; pen.setLineDash(dash);
    pen.strokeRect(x - 1, y - 1, size + 2, size + 2);
    pen.setLineDash([]); pen.lineWidth = 1;
  }
}
