// Instruments and who waits for them.

import { byId, element, table } from "/static/dom.js";

const EVERY = 3000;

function row(one, run) {
  const mine = one.owner !== null && run !== "" && run.split("/").pop() === one.owner.run;
  const held = one.owner === null || one.state === "free" ? "free"
    : one.state === "held" ? `${mine ? "this run" : one.owner.run} since ${one.owner.since}`
    : `nobody; ${one.trouble}`;
  const waiting = one.waiting.length
    ? element("ol", {}, ...one.waiting.map((who) => element("li", {}, `${who.run} since ${who.since}`)))
    : "nobody";
  return [one.name, held, waiting];
}

/** Show it, and go on showing it while somebody looks. */
export async function followStand(run = "") {
  const room = byId("stand");
  room.tabIndex = 0;
  room.setAttribute("role", "region");
  room.setAttribute("aria-label", "Instruments and queue");
  let before = "";
  for (;;) {
    if (!document.hidden) {
      try {
        const text = await (await fetch("/api/stand")).text();
        if (text !== before) {
          before = text;
          const found = JSON.parse(text);
          room.replaceChildren(found.said ? element("p", { class: "said" }, found.said)
            : table(["Instrument", "Held by", "Waiting, next first"], found.instruments.map((one) => row(one, run))));
        }
      } catch {
        before = "";
        room.replaceChildren(element("p", { class: "said" }, "The view's server does not answer."));
      }
    }
    await new Promise((done) => setTimeout(done, EVERY));
  }
}
