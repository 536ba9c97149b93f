// A run's page: asks for what is new, shows it, and asks again.

import { drawOutline, drawSpread, drawTrace } from "/static/charts.js";
import { byId, element, folded, onWidth, say, table } from "/static/dom.js";
import { CellMap } from "/static/map.js";
import { number, seconds } from "/static/scale.js";
import { followStand } from "/static/stand.js";

const HOLD = 5, BETWEEN = 100, SETTLED = 3000, LOST = 2000;
const NAMES = {
  conductance_after: "Now", conductance_target: "Target", conductance_error: "Error", conductance_before: "Before",
};
const ORDER = Object.keys(NAMES);
const VERDICTS = ["no verdict yet", "ok", "unresponsive", "stuck", "out of pulses", "skipped"];
const KINDS = { reset: "RESET", set: "SET", form: "FORM" };

const place = byId("run"), name = place.dataset.name, known = place.dataset.known === "1";
const wanted = { array: "", map: "conductance_after", cell: null, scope: "", capture: "" };
let seen = null, asking = null, wake = () => {};

/** Ask for something else at once. */
function change(what) {
  Object.assign(wanted, what);
  if (seen) seen.mark = "";
  if (asking) asking.abort("something else is wanted");
  wake();
}

function query() {
  const asked = new URLSearchParams({ map: wanted.map });
  if (wanted.cell) asked.set("cell", wanted.cell.join(","));
  const array = wanted.array !== "" ? wanted.array : wanted.cell && seen ? String(seen.array ?? 0) : "";
  if (array !== "") asked.set("array", array);
  if (wanted.scope) asked.set("scope", wanted.scope);
  if (wanted.scope && wanted.capture !== "") asked.set("capture", wanted.capture);
  if (seen?.mark) { asked.set("after", seen.mark); asked.set("hold", seen.status?.live ? HOLD : 0); }
  return `/api/run/${name.split("/").map(encodeURIComponent).join("/")}?${asked}`;
}

const pause = (time) => new Promise((done) => { wake = done; setTimeout(done, time); });

async function follow() {
  for (;;) {
    if (document.hidden) { await pause(BETWEEN * 5); continue; }
    asking = new AbortController();
    try {
      const reply = await fetch(query(), { signal: asking.signal });
      if (!reply.ok) throw new Error(new DOMParser().parseFromString(await reply.text(), "text/html").querySelector(".problem")?.textContent);
      const found = await reply.json();
      if (found.unchanged) tell(seen.problem ?? "");
      else show(found);
      await pause(found.unchanged && !seen.status?.live ? SETTLED : BETWEEN);
    } catch (error) {
      if (asking.signal.aborted) continue;
      const since = seen ? "; what is shown is what it said last" : "";
      tell(error instanceof TypeError ? `The view's server does not answer${since}.` : String(error.message ?? error));
      await pause(LOST);
    }
  }
}

function tell(problem) {
  byId("problem").hidden = !problem;
  say(byId("problem"), problem);
}

function show(found) {
  tell(found.problem);
  if (found.problem) { seen = { ...found, status: { live: true } }; return; }
  if (!known) { location.reload(); return; }
  seen = found;
  byId("state").className = `badge ${found.status.state}`;
  say(byId("state"), found.status.state);
  say(byId("said"), found.status.said);
  showMap(found);
  showTrace(found);
  showSpread(found);
  showProgress(found);
  showScope(found);
  showLog(found);
}

// The map

const map = known && new CellMap(byId("map"), {
  moved: showReadout,
  chosen: (row, col) => { byId("row").value = row; byId("col").value = col; byId("follow").checked = false; change({ cell: [row, col] }); },
  left: () => { byId("follow").checked = true; change({ cell: null }); },
});

function showMap(found) {
  const names = [...ORDER.filter((one) => found.maps.includes(one)), ...found.maps.filter((one) => !ORDER.includes(one))];
  if (byId("maps").dataset.names !== names.join()) {
    byId("maps").dataset.names = names.join();
    byId("maps").replaceChildren(byId("maps").firstElementChild, ...names.map((one) => {
      const radio = element("input", { type: "radio", name: "map", value: one });
      radio.checked = one === wanted.map;
      radio.addEventListener("change", () => change({ map: one }));
      return element("label", {}, radio, ` ${NAMES[one] ?? one.replaceAll("_", " ")}`);
    }));
  }
  const palette = found.map.name === "conductance_error" ? "puor" : "viridis";
  const trace = found.trace, framed = trace && trace.array === found.array ? [trace.row, trace.col] : null;
  const several = byId("array") ? `, array ${found.array}` : "";
  say(byId("map-title"), `Conductance map: ${(NAMES[found.map.name] ?? found.map.name.replaceAll("_", " ")).toLowerCase()}${several}`);
  byId("map").setAttribute("aria-label", `${byId("map-title").textContent}, ${found.map.shape.join(" by ")} cells`);
  byId("cells").href = `${byId("cells").pathname}?array=${found.array}`;
  map.show({ ...found.map, palette, verdicts: found.verdicts }, framed);
  if (!map.cursor) showReadout(null, null);
  mapTable();
}

function showReadout(row, col, byHand = false) {
  if (!seen?.map) return;
  // Read aloud when somebody moves, not with every pulse of the cell.
  byId("readout").setAttribute("aria-live", byHand ? "polite" : "off");
  if (row === null) { say(byId("readout"), seen.map.step > 1 ? `Every ${seen.map.step}th row and column is shown.` : "\u00a0"); return; }
  const { shape, step, name: shown, unit, values } = seen.map, at = row * shape[1] + col;
  const parts = [`now ${number(seen.now[at], 4)}`, `target ${number(seen.target[at], 4)} µS`, VERDICTS[seen.verdicts[at]]];
  if (!["conductance_after", "conductance_target"].includes(shown)) {
    parts.unshift(`${(NAMES[shown] ?? shown).toLowerCase()} ${number(values[at])} ${unit}`);
  }
  say(byId("readout"), `Row ${row * step}, column ${col * step}: ${parts.join(", ")}`);
}

const mapTable = known ? folded("map-table", () => {
  const { shape: [rows, cols], step, values, unit } = seen.map;
  const made = table([`row \\ column, ${unit}`, ...Array.from({ length: cols }, (_, k) => k * step)],
    Array.from({ length: rows }, (_, r) => [r * step, ...values.slice(r * cols, (r + 1) * cols).map((v) => number(v))]));
  return made;
}) : null;

// The trace

function showTrace(found) {
  const trace = found.trace;
  if (!trace) {
    byId("trace").replaceChildren(element("p", { class: "said" }, "No cell was touched yet."));
    return;
  }
  const array = byId("array") ? `array ${trace.array}, ` : "";
  const part = trace.whole ? "" : `, its last ${trace.kind.length} events`;
  say(byId("trace-title"), `Pulse trace: ${array}row ${trace.row}, column ${trace.col}${part}`);
  if (byId("follow").checked && !["row", "col"].includes(document.activeElement?.id)) {
    byId("row").value = trace.row;
    byId("col").value = trace.col;
  }
  if (trace.kind.length) drawTrace(byId("trace"), trace, found.tolerance);
  else byId("trace").replaceChildren(element("p", { class: "said" }, "Nothing was done to this cell."));
  traceTable();
}

const traceTable = known ? folded("trace-table", () => {
  const t = seen.trace;
  const rows = (t?.kind ?? []).map((kind, k) => [k + 1, `${KINDS[kind] ?? kind}${t.doubt[k] ? ", result unseen" : ""}`,
    number(t.time[k], 6), number(t.amplitude[k], 4), number(t.gate[k], 4), seconds(t.width[k]), number(t.conductance[k], 5)]);
  return table(["No.", "What", "at, s", "V", "gate, V", "for", "µS"], rows.reverse());
}) : null;

// Errors, progress, phases

function showSpread(found) {
  const s = found.spread;
  if (!s) {
    byId("spread").replaceChildren(element("p", { class: "said" }, "No cell of this array has both a target and a reading."));
    say(byId("spread-said"), "");
  } else {
    drawSpread(byId("spread"), s, found.tolerance);
    const beyond = s.below + s.above;
    say(byId("spread-said"), [
      s.inside >= 0 ? `${s.inside} cells inside the window` : "", s.mean === null ? "" : `mean ${number(s.mean)}, σ ${number(s.sigma)} µS`,
      beyond ? `${s.below} below and ${s.above} above the picture` : "",
    ].filter(Boolean).join("; "));
  }
  spreadTable();
}

const spreadTable = known ? folded("spread-table", () => {
  const s = seen.spread;
  const rows = (s?.touched ?? []).map((n, k) => [`${number(s.edges[k])} to ${number(s.edges[k + 1])}`, n, s.untouched[k]]);
  return table(["Error, µS", "pulsed or judged", "not yet"], rows.filter((row) => row[1] || row[2]));
}) : null;

function bar(said, done, all) {
  const id = `bar-${said.replaceAll(" ", "-")}`;
  let line = byId(id);
  if (!line) {
    line = element("div", { class: "bar" }, element("label", { for: `${id}-bar` }, said), element("span", {}), element("progress", { id: `${id}-bar` }));
    line.id = id;
    byId("bars").append(line);
  }
  say(line.children[1], `${done} of ${all}`);
  line.children[2].max = Math.max(all, 1);
  line.children[2].value = done;
}

function showProgress(found) {
  const p = found.progress;
  if (p.wanted) {
    bar("pulsed or judged", p.pulsed, p.wanted);
    if (found.tolerance !== null) bar("inside the window", p.inside, p.wanted);
    bar("with a verdict", p.judged, p.wanted);
  }
  const rows = [["Events", p.events], ["Lab's clock", seconds(p.seconds)]];
  for (const [verdict, n] of Object.entries(p.verdicts)) if (n && verdict !== "pending") rows.push([VERDICTS[Object.keys(p.verdicts).indexOf(verdict)], n]);
  for (const [scope, n] of Object.entries(p.captures)) rows.push([`Captures of ${scope}`, n]);
  const text = JSON.stringify(rows);
  if (byId("counts").dataset.text === text) return;
  byId("counts").dataset.text = text;
  byId("counts").replaceChildren(...rows.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, String(value))]));
}

function showLog(found) {
  const lines = [...found.phases.map((one) => [one.time, "phase", one.text.replaceAll("_", " ")]), ...found.notes.map((one) => [one.time, "note", one.text])]
    .sort((a, b) => b[0] - a[0]);
  const text = JSON.stringify(lines);
  if (byId("log").dataset.text === text) return;
  byId("log").dataset.text = text;
  byId("log").tabIndex = 0;
  byId("log").replaceChildren(lines.length ? table(["at, s", "", "What"], lines.map(([time, kind, said]) => [number(time, 6), kind, said]))
    : element("p", { class: "said" }, "None yet."));
}

// The oscilloscope

function showScope(found) {
  const scopes = Object.keys(found.scopes);
  byId("scope-panel").hidden = !scopes.length;
  if (!scopes.length) return;
  if (byId("scope").options.length !== scopes.length) byId("scope").replaceChildren(...scopes.map((one) => element("option", {}, one)));
  if (!wanted.scope) { change({ scope: scopes[0] }); return; }
  const count = found.scopes[wanted.scope], one = found.outline;
  byId("capture").max = Math.max(count - 1, 0);
  if (!one) {
    byId("outline").replaceChildren(element("p", { class: "said" }, "Nothing was captured yet."));
    say(byId("outline-said"), "");
    return;
  }
  if (byId("latest").checked) byId("capture").value = one.number;
  drawOutline(byId("outline"), one);
  const part = one.read < one.samples ? `, of which ${one.read} spread evenly are shown` : "";
  say(byId("outline-said"), `Capture ${one.number} of ${count}, counted from 0; ${one.samples} samples a channel${part}`);
  outlineTable();
}

const outlineTable = known ? folded("outline-table", () => {
  const one = seen.outline;
  if (!one) return element("p", {}, "Nothing was captured yet.");
  const rows = one.time.map((t, k) => [number(t, 5), ...one.channels.map((_, c) => one.low[c][k] === one.high[c][k]
    ? number(one.low[c][k], 4) : `${number(one.low[c][k], 4)} to ${number(one.high[c][k], 4)}`)]);
  return table(["time, s", ...one.channels.map((channel) => `${channel}, V`)], rows);
}) : null;

// Controls

function chosenCell() {
  const [row, col] = ["row", "col"].map((id) => byId(id).valueAsNumber);
  if (!byId("row").checkValidity() || !byId("col").checkValidity() || !Number.isInteger(row) || !Number.isInteger(col)) return;
  byId("follow").checked = false;
  change({ cell: [row, col] });
}

if (known) {
  for (const id of ["row", "col"]) byId(id).addEventListener("change", chosenCell);
  byId("follow").addEventListener("change", () => (byId("follow").checked ? change({ cell: null }) : chosenCell()));
  byId("array")?.addEventListener("change", () => change({ array: byId("array").value }));
  byId("scope").addEventListener("change", () => change({ scope: byId("scope").value, capture: "" }));
  byId("latest").addEventListener("change", () => change({ capture: byId("latest").checked ? "" : byId("capture").value }));
  byId("capture").addEventListener("change", () => {
    if (!byId("capture").checkValidity() || !Number.isInteger(byId("capture").valueAsNumber)) return;
    byId("latest").checked = false;
    change({ capture: byId("capture").value });
  });
  onWidth(byId("trace"), () => { if (seen?.map) { showTrace(seen); showSpread(seen); showScope(seen); } });
}
followStand(name);
follow();
