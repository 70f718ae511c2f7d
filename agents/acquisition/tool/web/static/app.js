// The labelling page: what is shown, what keys do, and how answers reach the server.
import { accuracyPanel, PoolMap } from "./charts.js";
import { colourOf, dot, el, showItem } from "./item.js";

const base = document.body.dataset.base;
const $ = (id) => document.getElementById(id);
const address = (position, kind = "picture") => (kind === "large" ? `${base}/picture/${position}?large` : `${base}/${kind}/${position}`);

const tab = (sessionStorage.tab ??= crypto.randomUUID().replaceAll("-", ""));
let annotator = new URLSearchParams(location.search).get("as") ?? sessionStorage.annotator ?? "";
let state = null; // what the server said last
let view = null; // the item on the screen
let visiting = false; // whether that is another item than the one to be answered next
let unsure = false, busy = false, shownAt = 0, later = 0;
const map = new PoolMap($("map"), (position) => visit(position));

// ---- Talking to the server -------------------------------------------------------------------------------------

async function ask(path, body) {
  const options = body
    ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }
    : {};
  let response;
  try {
    response = await fetch(`${base}/api/${path}`, options);
  } catch {
    banner("The labelling server does not answer. Every answer so far is saved: run the same command again.");
    throw new Error("no server");
  }
  const found = await response.json().catch(() => ({ error: `The server answered ${response.status}.` }));
  if (found.error) {
    banner(found.error);
    throw new Error(found.error);
  }
  banner("");
  return found;
}

const who = () => `tab=${tab}&annotator=${encodeURIComponent(annotator)}`;
const change = (path, body = {}) => ask(path, { tab, annotator, ...body });

/** Runs one change at a time: a key that is pressed meanwhile would mean an item that nobody saw. */
async function once(work) {
  if (busy) return;
  busy = true;
  document.body.classList.add("busy");
  try {
    await work();
  } catch (error) {
    console.warn(error);
  } finally {
    busy = false;
    document.body.classList.remove("busy");
  }
}

// ---- Answering -------------------------------------------------------------------------------------------------

function answer(label) {
  if (!view) return;
  once(async () => {
    const { position } = view, was = visiting, hidden = !state.classes.some((c) => c.name === label);
    const seconds = was ? null : (performance.now() - shownAt) / 1000;
    take(await change("answer", { position, label, unsure, seconds }));
    map.colour(position, state.classes.find((c) => c.name === label)?.number ?? 0);
    flash(label);
    if (was) toast(label === null ? "Skipped" : `Changed to ${label}`);
    else if (hidden && label !== null) toast(`New class: ${label}`);
  });
}

const undo = () => once(async () => {
  const found = await change("undo");
  take(found);
  const position = found.undone;
  toast(position === null ? "There is no answer of yours to take back" : "Took the last answer back");
  if (position === null) return;
  const item = await ask(`item/${position}?${who()}`);
  map.colour(position, numberOf(item.answer?.label));
  map.draw();
  if (position !== found.item?.position) {
    visiting = true;
    show(item);
  }
});

/** Shows what the server sent. */
function take(found) {
  state = found;
  visiting = false;
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
  view = item;
  shownAt = performance.now();
  const stage = $("stage");
  stage.dataset.position = item ? item.position : "";
  $("visit").hidden = !visiting;
  document.body.classList.toggle("visiting", visiting);
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
  map.draw();
  if (visiting) {
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
  const spent = state.budget !== null && state.labels >= state.budget;
  const text = spent ? `The budget of ${state.budget} labels is spent.` : "Every item is labelled or skipped.";
  return el("div", { class: "finished" }, el("p", { class: "big" }, "Done"), el("p", {}, text),
    state.skipped && !spent ? el("button", { type: "button", class: "primary", onclick: restore }, `Ask ${state.skipped} skipped items again`) : null);
}

const restore = () => once(async () => { $("answers").close(); take(await change("restore")); });
const measure = (size) => once(async () => { take(await change("measure", { size })); toast("The next items are drawn at random"); });

async function why(position) {
  const found = await ask(`why/${position}`).catch(() => null);
  if (!found || view?.position !== found.position) return;
  $("why-panel").hidden = !found.reasons.length && !found.nearest.length;
  $("reasons").replaceChildren(...found.reasons.map((words) => el("li", {}, `${words[0].toUpperCase()}${words.slice(1)}`)));
  $("near-title").hidden = !found.nearest.length;
  $("near").replaceChildren(...found.nearest.map((item) =>
    el("button", { type: "button", class: "card", onclick: () => visit(item.position), title: "Open this item" },
      item.kind === "image" ? el("img", { src: address(item.position), alt: "", loading: "lazy" }) : el("span", { class: "snippet", dir: "auto" }, item.short),
      el("span", { class: "class" }, dot(numberOf(item.label)), item.label))));
}

async function refresh() {
  const found = await ask("progress").catch(() => null);
  if (!found) return;
  $("n-pace").textContent = found.seconds === null ? "–" : found.seconds < 60 ? `${found.seconds.toFixed(1)} s` : `${Math.round(found.seconds / 60)} min`;
  $("accuracy").replaceChildren(...accuracyPanel(found, state.yardstick, measure));
}

// ---- Classes ---------------------------------------------------------------------------------------------------

const numberOf = (name) => state?.classes.find((c) => c.name === name)?.number ?? 0;

function drawClasses() {
  const chosen = view?.answer?.label;
  const place = $("classes");
  place.classList.toggle("many", state.classes.length > 12);
  place.replaceChildren(...state.classes.map(({ name, count, key, number }) => {
    const button = el("button", { type: "button", class: "class-button", "data-class": name, disabled: !view, "aria-pressed": name === chosen ? "true" : null,
      onclick: () => answer(name), title: name },
      el("span", { class: "name", dir: "auto" }, name), el("span", { class: "n" }, String(count)),
      key ? el("kbd", {}, key.toUpperCase()) : null);
    button.style.setProperty("--colour", colourOf(number));
    return button;
  }));
  if (!state.classes.length) place.append(el("p", { class: "hint" }, "Type the name of the first class and press Enter."));
}

function flash(label) {
  if (label === null) return;
  const button = [...$("classes").children].find((node) => node.dataset.class === label);
  button?.animate([{ transform: "scale(.97)" }, { transform: "none" }], { duration: 160 });
}

function setUnsure(on) {
  unsure = on;
  $("unsure").setAttribute("aria-pressed", String(on));
}

/** Number of letters by which two names differ, up to 3. */
function distance(a, b) {
  if (Math.abs(a.length - b.length) > 2) return 3;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1]));
    row = next;
  }
  return row[b.length];
}

let matches = [], active = 0;

function search() {
  const text = $("find").value.trim().replace(/\s+/g, " "), folded = text.toLowerCase();
  const score = ({ name }) => {
    const lower = name.toLowerCase();
    if (name === text) return 0;
    if (lower === folded) return 1;
    if (lower.startsWith(folded)) return 2;
    if (lower.includes(folded)) return 3;
    return distance(lower, folded) <= 2 && folded.length > 3 ? 4 : 9;
  };
  matches = !text ? [] : state.classes.map((c) => ({ ...c, score: score(c) })).filter((c) => c.score < 9)
    .sort((a, b) => a.score - b.score).slice(0, 7);
  if (text && !state.classes.some((c) => c.name === text)) matches.push({ name: text, fresh: true });
  active = 0;
  drawMatches();
}

function drawMatches() {
  $("matches").hidden = !matches.length;
  $("find").setAttribute("aria-expanded", String(matches.length > 0));
  $("find").setAttribute("aria-activedescendant", matches.length ? `match-${active}` : "");
  $("matches").replaceChildren(...matches.map((match, i) =>
    el("li", { id: `match-${i}`, role: "option", "aria-selected": String(i === active),
      onpointerdown: (event) => { event.preventDefault(); pick(match); } },
      match.fresh ? el("span", { class: "plus" }, "+") : dot(match.number),
      el("span", { class: "name", dir: "auto" }, match.name), match.fresh ? el("span", { class: "hint" }, "new class") : null)));
}

function pick(match) {
  $("find").value = "";
  matches = [];
  drawMatches();
  $("find").blur();
  answer(match.name);
}

$("find").addEventListener("input", search);
$("find").addEventListener("blur", () => { matches = []; drawMatches(); });
$("find").addEventListener("focus", search);
$("find").addEventListener("keydown", (event) => {
  event.stopPropagation();
  if (event.key === "Escape") { $("find").value = ""; $("find").blur(); }
  if (event.key === "Enter" && matches[active] && !event.isComposing) pick(matches[active]);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && matches.length) {
    event.preventDefault();
    active = (active + step + matches.length) % matches.length;
    drawMatches();
  }
});

// ---- Counts, earlier answers, visits ---------------------------------------------------------------------------

function drawCounts() {
  const goal = state.budget ?? state.total;
  $("bar").style.width = `${Math.min(100, (100 * state.labels) / Math.max(1, goal))}%`;
  $("count").textContent = `${state.labels.toLocaleString("en")} of ${goal.toLocaleString("en")}${state.budget ? "" : " items"}`;
  $("n-labels").textContent = state.labels.toLocaleString("en");
  $("n-classes").textContent = state.classes.filter((c) => c.count).length;
  $("who").textContent = annotator || "Add your name";
  $("skip").disabled = $("unsure").disabled = !view;
  if (state.failure) banner(`Items come at random: ${state.failure}`);
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
  for (const chip of $("trail").children) chip.classList.toggle("on", visiting && Number(chip.dataset.position) === view?.position);
}

const visit = (position) => once(async () => {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  if (position === state.item?.position) return present();
  const item = await ask(`item/${position}?${who()}`);
  visiting = true;
  show(item);
  markTrail();
  if ($("stage").getBoundingClientRect().top < 0) $("stage").scrollIntoView({ block: "nearest" });
});

function present() {
  if (!visiting) return;
  visiting = false;
  setUnsure(false);
  show(state.item);
  markTrail();
}

/** Goes one answer back or forth; after the last comes the present item. */
function walk(step) {
  const past = state.history;
  const at = visiting ? past.indexOf(view.position) : past.length;
  const next = (at < 0 ? past.length : at) + step;
  if (next >= past.length) present();
  else if (next >= 0) visit(past[next]);
}

// ---- Dialogs ---------------------------------------------------------------------------------------------------

async function openAnswers(before = null) {
  const found = await ask(`answers${before === null ? "" : `?before=${before}`}`).catch(() => null);
  if (!found) return;
  const rows = found.answers.map((row) =>
    el("li", { value: row.number }, el("button", { type: "button", class: "line", onclick: () => visit(row.position) },
      el("span", { class: "class" }, dot(numberOf(row.label)), row.label ?? "skipped"),
      el("span", { class: "snippet", dir: "auto" }, row.short),
      el("span", { class: "hint" }, [row.unsure ? "unsure" : "", row.random ? "random" : "", row.annotator].filter(Boolean).join(" · ")))));
  if (before === null) $("answers-list").replaceChildren(...rows);
  else $("answers-list").append(...rows);
  if (!found.total) $("answers-list").replaceChildren(el("p", { class: "hint" }, "No answers yet."));
  $("answers-more").hidden = found.before === null;
  $("answers-more").onclick = () => openAnswers(found.before);
  $("restore").hidden = !state.skipped;
  $("restore").textContent = `Ask ${state.skipped} skipped again`;
  if (!$("answers").open) $("answers").showModal();
}
$("restore").onclick = restore;

let reviewed = [], reviewAt = 0;

async function openReview() {
  const found = await ask("review").catch(() => null);
  if (!found) return;
  [reviewed, reviewAt] = [found.items, 0];
  drawReview();
  if (!$("review").open) $("review").showModal();
}

function drawReview() {
  const item = reviewed[reviewAt], body = $("review-body");
  countReview();
  if (!item) {
    body.replaceChildren(el("p", { class: "hint" }, "Nothing to review: no disagreements and no doubts."));
    return;
  }
  const opinions = Object.entries(item.opinions);
  const said = opinions.length ? opinions : [[item.annotator || "unsure", item.label ?? "skipped"]];
  body.replaceChildren(
    el("p", { class: "hint" }, `${reviewAt + 1} of ${reviewed.length} · ${new Set(item.opinions && Object.values(item.opinions)).size > 1 ? "annotators disagree" : "somebody was unsure"}`),
    el("div", { class: "stage small" }, showItem(item, address)),
    el("div", { class: "said" }, ...said.map(([name, label]) => el("p", {}, el("span", { class: "hint" }, name), dot(numberOf(label)), ` ${label}`))),
    el("div", { class: "classes" }, ...state.classes.map(({ name, key, number }) => {
      const button = el("button", { type: "button", class: "class-button", onclick: () => settle(name), "aria-pressed": name === item.label ? "true" : null },
        el("span", { class: "name" }, name), key ? el("kbd", {}, key.toUpperCase()) : null);
      button.style.setProperty("--colour", colourOf(number));
      return button;
    })),
  );
}

const settle = (label) => once(async () => {
  const item = reviewed[reviewAt];
  if (!item) return;
  const kept = view, was = visiting;
  state = { ...(await change("settle", { position: item.position, label })), item: state.item };
  [view, visiting] = [kept, was];
  map.colour(item.position, numberOf(label));
  reviewed.splice(reviewAt, 1);
  reviewAt = Math.min(reviewAt, Math.max(0, reviewed.length - 1));
  drawClasses();
  drawCounts();
  drawReview();
  map.draw();
});

function countReview() {
  $("review-count").hidden = !reviewed.length;
  $("review-count").textContent = reviewed.length;
}

$("name").addEventListener("close", () => {
  if ($("name").returnValue !== "ok") return;
  annotator = $("name-input").value.trim();
  sessionStorage.annotator = annotator;
  once(load);
});
$("who").onclick = () => { $("name-input").value = annotator; $("name").returnValue = ""; $("name").showModal(); };
$("help-open").onclick = () => $("help").showModal();
$("review-open").onclick = openReview;
$("answers-open").onclick = () => openAnswers();
$("visit-close").onclick = present;
$("skip").onclick = () => answer(null);
$("undo").onclick = undo;
$("unsure").onclick = () => setUnsure(!unsure);
for (const button of document.querySelectorAll("[data-close]")) button.onclick = () => button.closest("dialog").close();

let fading = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  clearTimeout(fading);
  fading = setTimeout(() => $("toast").classList.remove("on"), 1800);
}

function banner(text) {
  $("banner").hidden = !text;
  if ($("banner").textContent !== text) $("banner").textContent = text;
}

// ---- Keys ------------------------------------------------------------------------------------------------------

const commands = {
  s: () => answer(null),
  u: undo,
  "?": () => setUnsure(!unsure),
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
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat || !state) return;
  if (event.target.matches("input, textarea, audio")) return;
  const key = event.key.toLowerCase(), dialog = document.querySelector("dialog[open]");
  if (event.target.matches("button") && (key === " " || key === "enter")) return;
  const found = state.classes.find((c) => c.key === key);
  if (dialog) {
    if (dialog.id === "review" && found) { event.preventDefault(); settle(found.name); }
    if (dialog.id === "review" && ["arrowleft", "arrowright"].includes(key) && reviewed.length) {
      reviewAt = (reviewAt + (key === "arrowleft" ? -1 : 1) + reviewed.length) % reviewed.length;
      drawReview();
    }
    return;
  }
  if (found) {
    event.preventDefault();
    answer(found.name);
  } else if (Object.hasOwn(commands, key) && commands[key]() !== false) event.preventDefault();
});

// ---- Start -----------------------------------------------------------------------------------------------------

async function load() {
  take(await ask(`start?${who()}`));
  document.body.classList.add("ready");
  if (!state.classes.length) $("find").focus({ preventScroll: true });
}

/** Tells the server that this page is open, and takes over what other pages did meanwhile. */
async function keepUp() {
  if (busy || !state || document.hidden) return;
  const found = await ask(`start?${who()}`).catch(() => null);
  if (!found || busy) return;
  const same = found.item?.position === state.item?.position;
  if (!same && !visiting) return take(found);
  const changed = found.labels !== state.labels;
  state = { ...found, item: same ? state.item : found.item };
  drawCounts();
  if (changed) {
    drawClasses();
    map.set(await ask("map"));
  }
  const review = await ask("review").catch(() => null);
  if (review && !$("review").open) {
    reviewed = review.items;
    countReview();
  }
}

await once(load);
ask("map").then((found) => map.set(found)).catch(() => {});
setTimeout(refresh, 2500);
setInterval(keepUp, 5000);
