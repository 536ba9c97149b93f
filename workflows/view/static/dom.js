// Making elements. Text only ever goes in as text.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

function put(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** An HTML element. */
export const element = (name, attributes = {}, ...children) => put(document.createElement(name), attributes, children);

/** An SVG element. */
export const shape = (name, attributes = {}, ...children) =>
  put(document.createElementNS(SVG, name), attributes, children.map(String));

/** Set a node's text if it is another one: who reads the page aloud is told of changes only. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A table with a head; the first item of a row is its heading. */
export function table(columns, rows) {
  const head = element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)));
  const body = rows.map((row) => element("tr", {}, ...row.map((item, k) =>
    element(k ? "td" : "th", k ? {} : { scope: "row" }, item instanceof Node ? item : String(item)))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

/** Have a folded table filled when it is unfolded, and again when there is something new. */
export function folded(id, make) {
  const details = byId(id), room = details.querySelector(".scrolls");
  room.tabIndex = 0;
  const fill = () => { if (details.open) room.replaceChildren(make()); };
  details.addEventListener("toggle", fill);
  return fill;
}

/** Call `redraw` when an element has become wider or narrower; before the next picture, not within this one. */
export function onWidth(watched, redraw) {
  let width = watched.clientWidth;
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (watched.clientWidth === width) return;
    width = watched.clientWidth;
    redraw();
  })).observe(watched);
}
