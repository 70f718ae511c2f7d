// The item on the screen: answering, undoing, and going back to others.
import { accuracyPanel, PoolMap } from "./charts.js";
import { drawClasses, flash, setUnsure } from "./classes.js";
import { dot, el, showItem } from "./item.js";
import { $, address, ask, banner, change, numberOf, once, page, toast, who } from "./net.js";

export const map = new PoolMap($("map"), (position) => visit(position));
let shownAt = 0, later = 0;

export function answer(label) {
  if (!page.view) return;
  once(async () => {
    const { position } = page.view, was = page.visiting, hidden = !page.state.classes.some((c) => c.name === label);
    const seconds = was ? null : (performance.now() - shownAt) / 1000;
    take(await change("answer", { position, label, unsure: page.unsure, seconds }));
    map.colour(position, page.state.classes.find((c) => c.name === label)?.number ?? 0);
    flash(label);
    if (was) toast(label === null ? "Skipped" : `Changed to ${label}`);
    else if (hidden && label !== null) toast(`New class: ${label}`);
  });
}

export const undo = () => once(async () => {
  const found = await change("undo");
  take(found);
  const position = found.undone;
  toast(position === null ? "There is no answer of yours to take back" : "Took the last answer back");
  if (position === null) return;
  const item = await ask(`item/${position}?${who()}`);
  map.colour(position, numberOf(item.answer?.label));
  map.soon();
  if (position !== found.item?.position) {
    page.visiting = true;
    show(item);
  }
});

/** Shows what the server sent. */
export function take(found) {
  page.state = found;
  page.visiting = false;
  setUnsure(false);
  show(found.item);
  drawClasses();
  drawCounts();
  drawTrail();
  clearTimeout(later);
  later = setTimeout(refresh, 250);
  for (const position of found.ahead) if (found.item?.kind === "image") new Image().src = address(position);
}

function show(item) {
  page.view = item;
  shownAt = performance.now();
  const stage = $("stage");
  stage.dataset.position = item ? item.position : "";
  $("visit").hidden = !page.visiting;
  document.body.classList.toggle("visiting", page.visiting);
  if (!item) {
    stage.replaceChildren(finished());
    $("why-panel").hidden = true;
    return;
  }
  const tags = [];
  if (item.drawn) tags.push(el("span", { class: "tag" }, "random item, measures accuracy"));
  if (item.second) tags.push(el("span", { class: "tag" }, "second opinion"));
  if (item.given) tags.push(el("span", { class: "tag" }, `in the data: ${item.given}`));
  stage.replaceChildren(...(tags.length ? [el("div", { class: "tags" }, ...tags)] : []), showItem(item, address));
  stage.scrollTop = 0;
  map.now = item.position;
  map.soon();
  if (page.visiting) {
    const given = item.answer;
    const label = given ? (given.label ?? "skipped") : "no answer yet";
    $("visit-text").replaceChildren(
      dot(numberOf(given?.label)), ` ${label}${given?.unsure ? ", unsure" : ""}${given?.annotator ? `, by ${given.annotator}` : ""}`,
    );
    setUnsure(Boolean(given?.unsure));
  }
  drawClasses();
  why(item.position);
}

function finished() {
  const spent = page.state.exhausted;
  const text = spent ? `The budget of ${page.state.budget}${page.state.money ? "" : " labels"} is spent.` : "Every item is labelled or skipped.";
  return el("div", { class: "finished" }, el("p", { class: "big" }, "Done"), el("p", {}, text),
    page.state.skipped && !spent ? el("button", { type: "button", class: "primary", onclick: restore }, `Ask ${page.state.skipped} skipped items again`) : null);
}

export const restore = () => once(async () => { $("answers").close(); take(await change("restore")); });
const measure = (size) => once(async () => { take(await change("measure", { size })); toast("The next items are drawn at random"); });

async function why(position) {
  const found = await ask(`why/${position}`).catch(() => null);
  if (!found || page.view?.position !== found.position) return;
  $("why-panel").hidden = !found.reasons.length && !found.nearest.length;
  $("reasons").replaceChildren(...found.reasons.map((words) => el("li", {}, `${words[0].toUpperCase()}${words.slice(1)}`)));
  $("near-title").hidden = !found.nearest.length;
  $("near").replaceChildren(...found.nearest.map((item) =>
    el("button", { type: "button", class: "card", onclick: () => visit(item.position), title: "Open this item" },
      item.kind === "image" ? el("img", { src: address(item.position), alt: "", loading: "lazy" }) : el("span", { class: `snippet as-${item.kind}`, dir: "auto" }, item.short),
      el("span", { class: "class" }, dot(numberOf(item.label)), item.label))));
}

export async function refresh() {
  const found = await ask("progress").catch(() => null);
  if (!found) return;
  $("n-pace").textContent = found.seconds === null ? "–" : found.seconds < 60 ? `${found.seconds.toFixed(1)} s` : `${Math.round(found.seconds / 60)} min`;
  $("accuracy").replaceChildren(...accuracyPanel(found, page.state.yardstick, measure));
}

export function drawCounts() {
  const goal = page.state.budget ?? page.state.total;
  const done = page.state.budget === null ? page.state.labels : page.state.spent;
  $("bar").style.width = `${Math.min(100, (100 * done) / Math.max(1e-9, goal))}%`;
  $("count").textContent = `${done.toLocaleString("en")} of ${goal.toLocaleString("en")}${page.state.budget ? (page.state.money ? " spent" : "") : " items"}`;
  $("n-labels").textContent = page.state.labels.toLocaleString("en");
  $("n-classes").textContent = page.state.classes.filter((c) => c.count).length;
  $("who").textContent = page.annotator || "Add name";
  $("skip").disabled = $("unsure").disabled = !page.view;
  if (page.state.failure) banner(`Items come at random: ${page.state.failure}`);
}

async function drawTrail() {
  const found = await ask("answers").catch(() => null);
  if (!found) return;
  const chips = found.answers.slice(0, 14).map((row) =>
    el("button", { type: "button", class: "chip", "data-position": row.position, title: `${row.label ?? "skipped"}: ${row.short}`, onclick: () => visit(row.position) },
      dot(numberOf(row.label)), el("span", { dir: "auto" }, row.short), row.unsure ? el("span", { class: "mark-unsure" }, "?") : null));
  $("trail").replaceChildren(...chips);
  markTrail();
}

function markTrail() {
  for (const chip of $("trail").children) chip.classList.toggle("on", page.visiting && Number(chip.dataset.position) === page.view?.position);
}

export const visit = (position) => once(async () => {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  if (position === page.state.item?.position) return present();
  const item = await ask(`item/${position}?${who()}`);
  page.visiting = true;
  show(item);
  markTrail();
  if ($("stage").getBoundingClientRect().top < 0) $("stage").scrollIntoView({ block: "nearest" });
});

export function present() {
  if (!page.visiting) return;
  page.visiting = false;
  setUnsure(false);
  show(page.state.item);
  markTrail();
}

/** Goes one answer back or forth; after the last comes the present item. */
export function walk(step) {
  const past = page.state.history;
  const at = page.visiting ? past.indexOf(page.view.position) : past.length;
  const next = (at < 0 ? past.length : at) + step;
  if (next >= past.length) present();
  else if (next >= 0) visit(past[next]);
}

/** Asks for the item of this page. */
export async function load() {
  take(await ask(`start?${who()}`));
  if (!page.state.classes.length) $("find").focus({ preventScroll: true });
}
