// The labelling page: what keys do, and how it starts and keeps up with other pages.
import { drawClasses, setUnsure } from "./classes.js";
import { noteReview, openReview, settle, turnReview } from "./dialogs.js";
import { $, ask, once, page, who } from "./net.js";
import { answer, drawCounts, load, map, present, refresh, take, undo, walk } from "./stage.js";

const commands = {
  s: () => answer(null),
  u: undo,
  "?": () => setUnsure(!page.unsure),
  n: () => $("find").focus(),
  "/": () => $("find").focus(),
  h: () => $("help").showModal(),
  r: openReview,
  m: () => $("map").focus(),
  w: () => $("why-panel").scrollIntoView({ block: "center" }),
  z: () => document.querySelector("#stage .frame")?.dispatchEvent(new Event("zoom")),
  arrowleft: () => walk(-1),
  arrowright: () => walk(1),
  escape: present,
  " ": () => {
    const player = document.querySelector("#stage audio");
    if (player) player.paused ? player.play() : player.pause();
    return Boolean(player);
  },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat || !page.state) return;
  if (event.target.matches("input, textarea, audio")) return;
  const key = event.key.toLowerCase(), dialog = document.querySelector("dialog[open]");
  if (event.target.matches("button") && (key === " " || key === "enter")) return;
  const found = page.state.classes.find((c) => c.key === key);
  if (dialog) {
    if (dialog.id === "review" && found) { event.preventDefault(); settle(found.name); }
    const step = { arrowleft: -1, arrowright: 1 }[key];
    if (dialog.id === "review" && step) turnReview(step);
    return;
  }
  if (found) {
    event.preventDefault();
    answer(found.name);
  } else if (Object.hasOwn(commands, key) && commands[key]() !== false) event.preventDefault();
});

/** Tells the server that this page is open, and takes over what other pages did meanwhile. */
async function keepUp() {
  if (page.busy || !page.state || document.hidden) return;
  const found = await ask(`start?${who()}`).catch(() => null);
  if (!found || page.busy) return;
  const same = found.item?.position === page.state.item?.position;
  if (!same && !page.visiting) return take(found);
  const changed = found.labels !== page.state.labels;
  page.state = { ...found, item: same ? page.state.item : found.item };
  drawCounts();
  if (changed) {
    drawClasses();
    map.set(await ask("map"));
  }
  const review = await ask("review").catch(() => null);
  if (review) noteReview(review.items);
  refresh();
}

await once(load);
document.body.classList.add("ready");
ask("map").then((found) => map.set(found)).catch(() => {});
setTimeout(refresh, 2500);
setInterval(keepUp, 5000);
