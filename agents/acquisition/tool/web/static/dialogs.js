// What opens over the page: all answers, the review, keys, the annotator's name.
import { drawClasses, setUnsure } from "./classes.js";
import { colourOf, dot, el, showItem } from "./item.js";
import { $, address, ask, change, numberOf, once, page } from "./net.js";
import { answer, drawCounts, load, map, present, restore, undo, visit } from "./stage.js";

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
  $("restore").hidden = !page.state.skipped;
  $("restore").textContent = `Ask ${page.state.skipped} skipped again`;
  if (!$("answers").open) $("answers").showModal();
}
$("restore").onclick = restore;

let reviewed = [], reviewAt = 0;

/** Says how many items there are to review, from what the server found. */
export function noteReview(items) {
  if ($("review").open) return;
  reviewed = items;
  countReview();
}

/** Goes to the next or the last item to review. */
export function turnReview(step) {
  if (!reviewed.length) return;
  reviewAt = (reviewAt + step + reviewed.length) % reviewed.length;
  drawReview();
}


export async function openReview() {
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
    el("div", { class: "classes" }, ...page.state.classes.map(({ name, key, number }) => {
      const button = el("button", { type: "button", class: "class-button", onclick: () => settle(name), "aria-pressed": name === item.label ? "true" : null },
        el("span", { class: "name" }, name), key ? el("kbd", {}, key.toUpperCase()) : null);
      button.style.setProperty("--colour", colourOf(number));
      return button;
    })),
  );
}

export const settle = (label) => once(async () => {
  const item = reviewed[reviewAt];
  if (!item) return;
  const kept = page.view, was = page.visiting;
  page.state = { ...(await change("settle", { position: item.position, label })), item: page.state.item };
  [page.view, page.visiting] = [kept, was];
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
  page.annotator = $("name-input").value.trim();
  sessionStorage.annotator = page.annotator;
  once(load);
});
$("who").onclick = () => { $("name-input").value = page.annotator; $("name").returnValue = ""; $("name").showModal(); };
$("help-open").onclick = () => $("help").showModal();
$("review-open").onclick = openReview;
$("answers-open").onclick = () => openAnswers();
$("visit-close").onclick = present;
$("skip").onclick = () => answer(null);
$("undo").onclick = undo;
$("unsure").onclick = () => setUnsure(!page.unsure);
for (const button of document.querySelectorAll("[data-close]")) button.onclick = () => button.closest("dialog").close();

