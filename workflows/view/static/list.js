// Keeps the list of runs up to date while somebody looks at it.

import { byId } from "/static/dom.js";
import { followStand } from "/static/stand.js";

const EVERY = 5000, SOON = 1500;

async function renew() {
  for (;;) {
    const waiting = byId("list").dataset.waiting === "1";
    await new Promise((done) => setTimeout(done, waiting ? SOON : EVERY));
    // Whoever is in the list with the keyboard keeps the place.
    if (document.hidden || byId("list").contains(document.activeElement)) continue;
    try {
      const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
      const fresh = page.getElementById("list");
      if (fresh && fresh.innerHTML !== byId("list").innerHTML) byId("list").replaceWith(document.adoptNode(fresh));
    } catch { /* the server is gone; the list stays as it was, and the instruments say so */ }
  }
}

renew();
followStand();
