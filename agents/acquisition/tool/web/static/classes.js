// The classes: buttons with keys, and the field that finds one or adds it.
import { colourOf, dot, el } from "./item.js";
import { $, page } from "./net.js";
import { answer } from "./stage.js";

export function drawClasses() {
  const chosen = page.view?.answer?.label;
  const place = $("classes");
  place.classList.toggle("many", page.state.classes.length > 12);
  place.replaceChildren(...page.state.classes.map(({ name, count, key, number }) => {
    const button = el("button", { type: "button", class: "class-button", "data-class": name, disabled: !page.view, "aria-pressed": name === chosen ? "true" : null,
      onclick: () => answer(name), title: name },
      el("span", { class: "name", dir: "auto" }, name), el("span", { class: "n" }, String(count)),
      key ? el("kbd", {}, key.toUpperCase()) : null);
    button.style.setProperty("--colour", colourOf(number));
    return button;
  }));
  if (!page.state.classes.length) place.append(el("p", { class: "hint" }, "Type the name of the first class and press Enter."));
}

export function flash(label) {
  if (label === null) return;
  const button = [...$("classes").children].find((node) => node.dataset.class === label);
  button?.animate([{ transform: "scale(.97)" }, { transform: "none" }], { duration: 160 });
}

export function setUnsure(on) {
  page.unsure = on;
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
  matches = !text ? [] : page.state.classes.map((c) => ({ ...c, score: score(c) })).filter((c) => c.score < 9)
    .sort((a, b) => a.score - b.score).slice(0, 7);
  if (text && !page.state.classes.some((c) => c.name === text)) matches.push({ name: text, fresh: true });
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
