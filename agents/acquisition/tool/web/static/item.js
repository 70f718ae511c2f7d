// Shows one item. The page and the notebook's widget share this file, so it imports nothing.
// Whatever comes from the data is set as text, never as HTML.

/** Creates an element: el("p", {class: "hint"}, "text", child, …). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Returns the colour of a class by its number, as a CSS value. */
export const colourOf = (number) => (number ? `var(--c${((number - 1) % 12) + 1})` : "var(--faint)");

/** Returns a dot in the colour of a class. */
export function dot(number) {
  const node = el("i", { class: "dot", "aria-hidden": "true" });
  node.style.background = colourOf(number);
  return node;
}

/**
 * Builds the view of an item.
 * @param view what the server tells of it, see item_view.py
 * @param address (position, "picture" | "large" | "sound") → where that is
 */
export function showItem(view, address) {
  if (view.kind === "image") return showPicture(view, address);
  if (view.kind === "sound") return showSound(view, address);
  if (view.kind === "text") return showText(view);
  if (view.kind === "numbers") return showNumbers(view);
  return showRow(view);
}

function showText(view) {
  const long = view.text.length > 600;
  const body = el("div", { class: `text${long ? " long" : ""}`, dir: "auto" }, view.text || "(empty text)");
  const cells = view.cells.filter(([, cell]) => cell);
  return el(
    "div", { class: "shown" }, body,
    view.cut ? el("p", { class: "hint" }, "The text goes on; only its beginning is shown.") : null,
    cells.length ? el("div", { class: "aside-cells" }, rows(cells)) : null,
  );
}

function showRow(view) {
  return el("div", { class: "shown" }, rows(view.cells));
}

function rows(cells) {
  const table = el("dl", { class: `cells${cells.length > 9 ? " many" : ""}` });
  cells.forEach(([name, cell], i) => {
    const numeric = /^[-+]?[\d.,\s]+(e[-+]?\d+)?%?$/i.test(cell);
    table.append(
      el("div", {}, el("dt", {}, name || `column ${i + 1}`),
        el("dd", { class: cell ? (numeric ? "number" : null) : "missing", dir: "auto" }, cell || "missing")),
    );
  });
  return table;
}

function showNumbers(view) {
  const most = Math.max(1e-12, ...view.numbers.map(Math.abs));
  const bars = el("div", { class: "bars", role: "img", "aria-label": `vector of ${view.of} numbers` });
  for (const value of view.numbers) {
    const bar = el("i", { class: value < 0 ? "below" : null, title: String(value) });
    bar.style.setProperty("--h", `${(50 * Math.abs(value)) / most}%`);
    bars.append(bar);
  }
  const rest = view.of > view.numbers.length ? `, the first ${view.numbers.length} shown` : "";
  return el("div", { class: "shown" }, bars, el("p", { class: "hint" }, `${view.name}: ${view.of} numbers${rest}`));
}

function showPicture(view, address) {
  const image = el("img", { src: address(view.position), alt: view.name, draggable: "false" });
  const frame = el("div", { class: "frame" }, image);
  const figure = el("figure", { class: "shown picture" }, frame, el("figcaption", {}, view.name));
  image.addEventListener("load", () => {
    frame.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) <= 128);
    image.style.maxWidth = `min(100%, ${2 * image.naturalWidth}px)`; // enlarged, but never to mud
    image.style.maxHeight = `min(100%, ${2 * image.naturalHeight}px)`;
    frame.classList.add("ready");
  });
  image.addEventListener("error", () => {
    frame.replaceChildren(el("p", { class: "missing" }, "This picture cannot be read. Skip it, or look at the file."));
  });
  figure.append(...zoomable(frame, image, () => address(view.position, "large")));
  return figure;
}

/** Lets a picture be enlarged by wheel, keys, buttons and double click, and moved by dragging. */
function zoomable(frame, image, large) {
  let scale = 1, x = 0, y = 0, drag = null, fetched = false;
  const set = (wanted, atX = 0, atY = 0) => {
    const next = Math.min(16, Math.max(1, wanted));
    x = next === 1 ? 0 : atX - ((atX - x) * next) / scale;
    y = next === 1 ? 0 : atY - ((atY - y) * next) / scale;
    scale = next;
    if (scale > 1 && !fetched && image.naturalWidth > 900) {
      fetched = true;
      const better = new Image();
      better.onload = () => { image.src = better.src; };
      better.src = large();
    }
    image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    frame.classList.toggle("zoomed", scale > 1);
    level.textContent = `${Math.round(scale * 100)} %`;
  };
  const fromCentre = (event) => {
    const box = frame.getBoundingClientRect();
    return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  };
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && scale === 1) return; // the page scrolls until the picture is zoomed
    event.preventDefault();
    set(scale * Math.exp(-event.deltaY / 300), ...fromCentre(event));
  }, { passive: false });
  frame.addEventListener("dblclick", (event) => set(scale > 1 ? 1 : 2.5, ...fromCentre(event)));
  frame.addEventListener("pointerdown", (event) => {
    if (scale === 1) return;
    drag = [event.clientX - x, event.clientY - y];
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!drag) return;
    [x, y] = [event.clientX - drag[0], event.clientY - drag[1]];
    set(scale);
  });
  for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => { drag = null; });
  const level = el("output", {}, "100 %");
  const toggle = () => set(scale > 1 ? 1 : 2.5);
  frame.addEventListener("zoom", toggle);
  return [
    el("div", { class: "zoom", role: "group", "aria-label": "Zoom" },
      el("button", { type: "button", "aria-label": "Smaller", onclick: () => set(scale / 1.5) }, "−"),
      level,
      el("button", { type: "button", "aria-label": "Larger", onclick: () => set(scale * 1.5) }, "+")),
  ];
}

function showSound(view, address) {
  const player = el("audio", { src: address(view.position, "sound"), preload: "auto" });
  const canvas = el("canvas", { class: "wave", "aria-hidden": "true" });
  const time = el("output", {}, "0:00");
  const button = el("button", { type: "button", class: "play", "aria-label": "Play or pause" });
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  button.addEventListener("click", () => (player.paused ? player.play() : player.pause()));
  for (const name of ["play", "pause", "ended"]) player.addEventListener(name, () => button.classList.toggle("on", !player.paused));
  for (const name of ["timeupdate", "loadedmetadata"]) {
    player.addEventListener(name, () => {
      time.textContent = `${clock(player.currentTime)} / ${Number.isFinite(player.duration) ? clock(player.duration) : "–"}`;
    });
  }
  const controls = el("div", { class: "controls" }, button, time, el("span", { class: "hint" }, view.name));
  player.addEventListener("error", () => controls.replaceChildren(el("p", { class: "missing" }, `${view.name} cannot be played. Skip it, or look at the file.`)));
  const figure = el("figure", { class: "shown sound" }, canvas, player, controls);
  drawWave(canvas, player, address(view.position, "sound"));
  return figure;
}

const MOST_DECODED = 60 * 2 ** 20; // bytes; larger sounds are played, but not drawn

async function drawWave(canvas, player, source) {
  let peaks = null;
  const draw = () => {
    if (!canvas.isConnected) return;
    const width = canvas.clientWidth, height = canvas.clientHeight, ratio = window.devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
    pen.scale(ratio, ratio);
    const count = Math.max(1, Math.floor(width / 4));
    const played = player.duration ? player.currentTime / player.duration : 0;
    for (let i = 0; i < count; i++) {
      const level = peaks ? peaks[Math.floor((i * peaks.length) / count)] : 0;
      const bar = Math.max(2, level * (height - 8));
      pen.fillStyle = style.getPropertyValue((i + 0.5) / count <= played ? "--accent" : "--faint");
      pen.fillRect(i * 4, (height - bar) / 2, 2.5, bar);
    }
  };
  canvas.addEventListener("click", (event) => {
    if (player.duration) player.currentTime = (event.offsetX / canvas.clientWidth) * player.duration;
  });
  for (const name of ["timeupdate", "seeked", "loadedmetadata"]) player.addEventListener(name, draw);
  requestAnimationFrame(draw);
  try {
    const data = await (await fetch(source)).arrayBuffer();
    if (data.byteLength > MOST_DECODED) return;
    const sound = await new OfflineAudioContext(1, 1, 22050).decodeAudioData(data);
    const wave = sound.getChannelData(0), size = Math.max(1, Math.floor(wave.length / 400));
    peaks = Array.from({ length: Math.ceil(wave.length / size) }, (_, i) => {
      let most = 0;
      for (let k = i * size; k < Math.min(wave.length, (i + 1) * size); k++) most = Math.max(most, Math.abs(wave[k]));
      return most;
    });
    const loudest = Math.max(1e-6, ...peaks);
    peaks = peaks.map((level) => level / loudest);
    draw();
  } catch {
    // The player says itself that it cannot play the file.
  }
}
