// The notebook's widget. It is joined behind item.js into one file, so it imports nothing.

function render({ model, el: root }) {
  const address = () => model.get("state").media ?? "";
  let shownAt = performance.now(), unsure = false, waiting = false;

  const send = (ask, more = {}) => {
    if (waiting) return; // a key that is pressed meanwhile would mean an item that nobody saw
    waiting = true;
    model.send({ ask, position: model.get("state").item?.position, unsure, seconds: (performance.now() - shownAt) / 1000, ...more });
  };

  const draw = () => {
    const state = model.get("state"), { item, classes } = state;
    waiting = unsure = false;
    shownAt = performance.now();
    const stage = el("div", { class: "stage" }, item ? showItem(item, address) : el("p", { class: "waiting" }, state.done ?? ""));
    const buttons = classes.map(({ name, count, key, number }) => {
      const button = el("button", { type: "button", class: "class-button", disabled: !item, onclick: () => send("answer", { label: name }) },
        el("span", { class: "name", dir: "auto" }, name), el("span", { class: "n" }, String(count)), key ? el("kbd", {}, key.toUpperCase()) : null);
      button.style.setProperty("--colour", colourOf(number));
      return button;
    });
    const field = el("input", { type: "text", maxlength: "200", placeholder: "New class, then Enter", "aria-label": "New class" });
    field.addEventListener("keydown", (event) => {
      event.stopPropagation(); // keys of the notebook must not see it
      if (event.key === "Escape") root.focus();
      if (event.key === "Enter" && field.value.trim() && !event.isComposing) send("answer", { label: field.value });
    });
    const doubt = el("button", { type: "button", "aria-pressed": "false", onclick: () => toggle() }, "Unsure ", el("kbd", {}, "?"));
    root.toggle = toggle;
    function toggle() {
      unsure = !unsure;
      doubt.setAttribute("aria-pressed", String(unsure));
      doubt.classList.toggle("primary", unsure);
    }
    const parts = [
      el("p", { class: "hint" }, `${state.labels} of ${state.total} labelled`),
      stage,
      el("div", { class: "classes" }, ...buttons),
      el("div", { class: "acts" }, field, doubt,
        el("button", { type: "button", onclick: () => send("skip") }, "Skip ", el("kbd", {}, "S")),
        el("button", { type: "button", onclick: () => send("undo") }, "Undo ", el("kbd", {}, "U"))),
    ];
    if (state.error) parts.unshift(el("p", { class: "hint", role: "alert" }, state.error));
    if (state.reasons?.length) parts.push(el("ul", { class: "reasons" }, ...state.reasons.map((words) => el("li", {}, words))));
    if (state.nearest?.length) {
      parts.push(el("p", { class: "hint" }, "Nearest labelled"),
        el("div", { class: "near" }, ...state.nearest.map(({ short, label, number, media }) =>
          el("div", { class: "card" }, media ? el("img", { src: media, alt: "" }) : el("span", { class: "snippet", dir: "auto" }, short),
            el("span", { class: "class" }, dot(number), label)))));
    }
    const focused = root.contains(document.activeElement);
    root.replaceChildren(...parts);
    if (focused) root.focus();
  };

  root.classList.add("metaal", "metaal-widget");
  root.tabIndex = 0;
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const key = event.key.toLowerCase(), found = model.get("state").classes.find((c) => c.key === key);
    if (event.target.matches("button") && [" ", "enter"].includes(key)) return;
    const commands = {
      s: () => send("skip"),
      u: () => send("undo"),
      "?": () => root.toggle(),
      n: () => root.querySelector("input").focus(),
      z: () => root.querySelector(".frame")?.dispatchEvent(new Event("zoom")),
      " ": () => root.querySelector(".play")?.click(),
    };
    if (!found && !Object.hasOwn(commands, key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (found) send("answer", { label: found.name });
    else commands[key]();
  });
  model.on("change:state", draw);
  draw();
}

export default { render };
