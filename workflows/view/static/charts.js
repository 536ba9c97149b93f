// Pictures of lines and bars, drawn as SVG: sharp on the screen and on paper.

import { element, shape } from "/static/dom.js";
import { LINES, number, ticks, timeUnit } from "/static/scale.js";

const RIGHT = 12;

/** A picture of the room's width; `draw(group, width)` fills it. */
function picture(room, height, label, draw) {
  const width = Math.max(Math.round(room.clientWidth), 240);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  draw(svg, width);
  room.replaceChildren(svg);
}

const text = (x, y, said, attributes = {}) => {
  const made = shape("text", { x, y, ...attributes });
  made.textContent = said;
  return made;
};

/** Axes around a box; gives the functions from values to places. */
function axes(svg, box, x, y) {
  const { left, top, width, height } = box;
  const toX = (v) => left + ((v - x.low) / (x.high - x.low)) * width;
  const toY = (v) => top + height - ((v - y.low) / (y.high - y.low)) * height;
  for (const tick of ticks(y.low, y.high, Math.max(2, Math.floor(height / 28)), y.whole)) {
    svg.append(shape("line", { class: "grid", x1: left, x2: left + width, y1: toY(tick), y2: toY(tick) }));
    svg.append(text(left - 6, toY(tick) + 4, number(y.absolute ? Math.abs(tick) : tick), { "text-anchor": "end" }));
  }
  for (const tick of ticks(x.low, x.high, Math.max(2, Math.floor(width / 70)), x.whole)) {
    svg.append(shape("line", { class: "tick", x1: toX(tick), x2: toX(tick), y1: top + height, y2: top + height + 4 }));
    if (x.title !== null) svg.append(text(toX(tick), top + height + 17, number(tick), { "text-anchor": "middle" }));
  }
  svg.append(shape("rect", { class: "frame", x: left, y: top, width, height }));
  if (x.title) svg.append(text(left + width / 2, top + height + 34, x.title, { "text-anchor": "middle" }));
  const middle = top + height / 2;
  svg.append(text(13, middle, y.title, { "text-anchor": "middle", transform: `rotate(-90 13 ${middle})` }));
  return [toX, toY];
}

/** An item of a legend: a mark and what it means. */
function key(what, kind, attributes, said) {
  const mark = shape("svg", { width: 30, height: 12, "aria-hidden": "true" });
  mark.append(shape(what, { class: kind, ...attributes }));
  return element("span", {}, mark, ` ${said}`);
}

/** How many cells are how far from their targets. */
export function drawSpread(room, found, tolerance) {
  const most = Math.max(1, ...found.touched.map((n, k) => n + found.untouched[k]));
  const label = `Histogram of errors, after minus target; ${found.inside} cells inside the window`;
  picture(room, 202, label, (svg, width) => {
    const box = { left: 52, top: 6, width: width - 52 - RIGHT, height: 150 }, { edges } = found;
    const [toX, toY] = axes(svg, box, { low: edges[0], high: edges.at(-1), title: "error, µS" },
      { low: 0, high: most * 1.05, title: "cells", whole: true });
    found.touched.forEach((n, k) => {
      const [x, wide] = [toX(edges[k]), toX(edges[k + 1]) - toX(edges[k])];
      const both = n + found.untouched[k];
      if (n) svg.append(shape("rect", { class: "touched", x: x + 0.5, width: Math.max(wide - 1, 0.5), y: toY(n), height: toY(0) - toY(n) }));
      if (both > n) svg.append(shape("rect", { class: "untouched", x: x + 0.5, width: Math.max(wide - 1, 0.5), y: toY(both), height: toY(n) - toY(both) }));
    });
    if (tolerance) {
      for (const edge of [-tolerance, tolerance]) {
        svg.append(shape("line", { class: "window", x1: toX(edge), x2: toX(edge), y1: box.top, y2: box.top + box.height }));
      }
    }
  });
  const box = { x: 9, y: 0, width: 12, height: 12 };
  const keys = [key("rect", "touched", box, "pulsed or judged"), key("rect", "untouched", box, "not yet")];
  if (tolerance) keys.push(key("line", "window", { x1: 15, x2: 15, y1: 0, y2: 12 }, `window ±${number(tolerance)} µS`));
  room.prepend(element("p", { class: "legend" }, ...keys));
}

const UP = { set: "SET", form: "FORM" };

/** A cell's conductance after each pulse, and the pulses' voltages below it. */
export function drawTrace(room, trace, tolerance) {
  const n = trace.kind.length, reads = [];
  trace.conductance.forEach((g, k) => { if (g !== null) reads.push([k + 1, g]); });
  const all = reads.map(([, g]) => g);
  if (trace.target !== null) all.push(trace.target + (tolerance || 0), trace.target - (tolerance || 0));
  const [least, largest] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
  const margin = (largest - least || Math.abs(largest) || 1) * 0.08;
  const pulses = trace.kind.map((kind, k) => [kind, trace.amplitude[k], trace.doubt[k]]);
  const given = pulses.filter(([kind]) => kind in UP || kind === "reset");
  const volts = Math.max(0.5, ...given.map(([, v]) => Math.abs(v ?? 0))) * 1.15;
  const label = `Row ${trace.row}, column ${trace.col}: ${reads.length} reads, ${given.length} pulses`;
  picture(room, 318, label, (svg, width) => {
    const x = { low: 0.5, high: Math.max(n, 8) + 0.5, title: null, whole: true };
    const upper = { left: 52, top: 10, width: width - 52 - RIGHT, height: 164 };
    const [toX, toY] = axes(svg, upper, x, { low: least - margin, high: largest + margin, title: "conductance, µS" });
    if (trace.target !== null) {
      if (tolerance) {
        const y = toY(trace.target + tolerance);
        svg.append(shape("rect", { class: "band", x: upper.left, width: upper.width, y, height: toY(trace.target - tolerance) - y }));
      }
      svg.append(shape("line", { class: "target", x1: upper.left, x2: upper.left + upper.width, y1: toY(trace.target), y2: toY(trace.target) }));
    }
    svg.append(shape("polyline", { class: "path", points: reads.map(([k, g]) => `${toX(k)},${toY(g)}`).join(" ") }));
    for (const [k, g] of reads) svg.append(shape("circle", { class: "read", cx: toX(k), cy: toY(g), r: n > 120 ? 1.6 : 3 }));
    const lower = { left: 52, top: 190, width: upper.width, height: 84 };
    const [, toV] = axes(svg, lower, { ...x, title: "its pulses and reads, in order" },
      { low: -volts, high: volts, title: "pulse, V", absolute: true });
    svg.append(shape("line", { class: "tick", x1: lower.left, x2: lower.left + lower.width, y1: toV(0), y2: toV(0) }));
    const wide = Math.max(1, Math.min(9, (toX(2) - toX(1)) * 0.7));
    pulses.forEach(([kind, v, doubt], k) => {
      if (v === null || !(kind in UP || kind === "reset")) return;
      const end = toV(kind === "reset" ? -Math.abs(v) : Math.abs(v));
      svg.append(shape("rect", { class: `${kind}${doubt ? " doubt" : ""}`, x: toX(k + 1) - wide / 2, width: wide,
        y: Math.min(end, toV(0)), height: Math.abs(end - toV(0)) }));
    });
  });
  const keys = [key("circle", "read", { cx: 15, cy: 6, r: 3 }, "read")];
  if (trace.target !== null) {
    const band = tolerance ? ` ±${number(tolerance)}` : "";
    keys.push(key("line", "target", { x1: 1, x2: 29, y1: 6, y2: 6 }, `target ${number(trace.target, 4)}${band} µS`));
  }
  for (const kind of ["set", "reset", "form"]) {
    if (!given.some(([one]) => one === kind)) continue;
    keys.push(key("rect", kind, { x: 10, y: 0, width: 9, height: 12 }, kind === "reset" ? "RESET, downwards" : `${UP[kind]}, upwards`));
  }
  if (given.some(([, , doubt]) => doubt)) keys.push(key("rect", "doubt", { x: 10, y: 0, width: 9, height: 12 }, "result unseen"));
  room.prepend(element("p", { class: "legend" }, ...keys));
}

/** A capture: each channel a band from its lowest to its highest sample, as narrow as a line where they are one. */
export function drawOutline(room, found) {
  const [factor, unit] = timeUnit(Math.max(Math.abs(found.time[0]), Math.abs(found.time.at(-1))));
  const time = found.time.map((t) => t * factor);
  const ends = [Math.min(...found.low.flat()), Math.max(...found.high.flat())];
  const margin = (ends[1] - ends[0] || Math.abs(ends[1]) || 1) * 0.06;
  const wide = time.length > 1 ? 0 : 0.5;
  const label = `Capture ${found.number} of ${found.scope}: ${found.channels.join(", ")}`;
  const legend = element("p", { class: "legend" }, ...found.channels.map((name, k) => {
    const [colour, dash] = LINES[k % LINES.length];
    return key("line", "wave", { x1: 1, x2: 29, y1: 6, y2: 6, stroke: colour, "stroke-dasharray": dash }, name);
  }));
  picture(room, 250, label, (svg, width) => {
    const box = { left: 52, top: 8, width: width - 52 - RIGHT, height: 196 };
    const [toX, toY] = axes(svg, box, { low: time[0] - wide, high: time.at(-1) + wide, title: `time from the trigger, ${unit}` },
      { low: ends[0] - margin, high: ends[1] + margin, title: "voltage, V" });
    found.low.forEach((low, k) => {
      const high = found.high[k], places = [];
      low.forEach((v, i) => {
        places.push(`${toX(time[i]).toFixed(1)},${toY(v).toFixed(1)}`);
        if (high[i] !== v) places.push(`${toX(time[i]).toFixed(1)},${toY(high[i]).toFixed(1)}`);
      });
      const [colour, dash] = LINES[k % LINES.length];
      svg.append(shape("polyline", { class: "wave", stroke: colour, "stroke-dasharray": dash, points: places.join(" ") }));
    });
  });
  room.prepend(legend);
}
