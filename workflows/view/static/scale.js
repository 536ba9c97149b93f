// Colours, ticks and numbers for every picture.

// Matplotlib's viridis and PuOr (reversed) at 17 even places: even to the eye, told apart without red-green vision.
const STOPS = {
  viridis: "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725",
  puor: "2d004b4518715f3a917b6aa89990bfb7b1d5cfcfe5e4e5f0f7f7f6fce8cdfed59ffdbc6bee9b39d97b12bd61099e4c077f3b08",
};
// Okabe and Ito's colours, with a dash each, so that lines differ without any colour.
export const LINES = [
  ["#0072B2", ""], ["#D55E00", "7 3"], ["#009E73", "2 3"], ["#8A2A6B", "9 3 2 3"],
  ["#222222", "4 2"], ["#56B4E9", "1 2"], ["#E69F00", "12 4"], ["#666666", "6 2 1 2"],
];

const tables = new Map();

/** 256 colours of a map, as CSS. */
export function colours(name) {
  if (!tables.has(name)) {
    const text = STOPS[name];
    const stops = Array.from({ length: 17 }, (_, k) =>
      [0, 2, 4].map((at) => parseInt(text.slice(6 * k + at, 6 * k + at + 2), 16)));
    tables.set(name, Array.from({ length: 256 }, (_, k) => {
      const place = (k / 255) * 16, at = Math.min(Math.floor(place), 15), part = place - at;
      return `rgb(${stops[at].map((v, i) => Math.round(v + (stops[at + 1][i] - v) * part)).join(",")})`;
    }));
  }
  return tables.get(name);
}

/** Round numbers from low to high, about `wanted` of them; `whole`: nothing but whole numbers. */
export function ticks(low, high, wanted, whole = false) {
  const extent = high - low;
  if (!(extent > 0) || !Number.isFinite(extent)) return [low];
  const raw = extent / Math.max(wanted, 1), power = Math.max(10 ** Math.floor(Math.log10(raw)), whole ? 1 : 0);
  const step = (whole ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10]).map((f) => f * power).find((s) => s >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return found;
}

/** A number with as many digits as matter, with a true minus sign. */
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "-";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-4 ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
  return text.replace("-", "\u2212").replace("e\u2212", "e-").replace(/e([+-]?)(\d+)/, (_, s, d) => `e${s === "-" ? "\u2212" : ""}${d}`);
}

/** Seconds as people say them. */
export function seconds(value) {
  if (value === null || value === undefined) return "-";
  if (value < 1) return `${number(value * 1e3)} ms`;
  if (value < 120) return `${number(value)} s`;
  const minutes = Math.floor(value / 60), rest = Math.round(value - 60 * minutes);
  return minutes < 120 ? `${minutes} min ${rest} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Factor and unit that make a time of this size legible. */
export function timeUnit(largest) {
  for (const [factor, unit] of [[1, "s"], [1e3, "ms"], [1e6, "µs"]]) if (largest * factor >= 1) return [factor, unit];
  return [1e9, "ns"];
}
