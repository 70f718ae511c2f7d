// The learning curve, and the map of the pool.
import { el } from "./item.js";

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const percent = (share) => `${Math.round(100 * share)} %`;

/** Draws accuracy over labels, with the interval as a band. */
export function learningCurve(points) {
  const width = 320, height = 112, left = 34, right = 8, top = 8, bottom = 20;
  const last = points[points.length - 1], first = points[0];
  const x = (n) => left + ((n - first.labels) / Math.max(1, last.labels - first.labels)) * (width - left - right);
  const y = (share) => top + (1 - share) * (height - top - bottom);
  const line = (key) => points.map((p) => `${x(p.labels).toFixed(1)},${y(p[key]).toFixed(1)}`);
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img",
    "aria-label": `Accuracy rose from ${percent(first.accuracy)} to ${percent(last.accuracy)}`,
  });
  for (const share of [0, 0.5, 1]) {
    picture.append(
      svg("line", { x1: left, x2: width - right, y1: y(share), y2: y(share), class: "grid" }),
      svg("text", { x: left - 6, y: y(share) + 3.5, "text-anchor": "end" }, percent(share)),
    );
  }
  picture.append(
    svg("text", { x: left, y: height - 4 }, `${first.labels} labels`),
    svg("text", { x: width - right, y: height - 4, "text-anchor": "end" }, String(last.labels)),
    svg("polygon", { points: [...line("high"), ...line("low").reverse()].join(" "), class: "band" }),
    svg("polyline", { points: line("accuracy").join(" "), class: "line" }),
    svg("circle", { cx: x(last.labels), cy: y(last.accuracy), r: 3.5, class: "end" }),
  );
  return picture;
}

/** Fills the panel about accuracy. */
export function accuracyPanel(found, yardstick, measure) {
  const measured = found.measured, parts = [];
  if (yardstick.size > yardstick.done) {
    parts.push(el("p", { class: "hint" },
      `Measuring: ${yardstick.done} of ${yardstick.size} items drawn at random are answered.`));
  }
  if (measured && measured.accuracy !== null) {
    const [low, high] = measured.interval;
    parts.push(
      el("p", { class: "headline" }, el("strong", {}, percent(measured.accuracy)), " estimated accuracy",
        el("span", { class: "hint" }, `95 % interval ${percent(low)} to ${percent(high)}, on ${measured.yardstick} random items`)),
    );
  }
  if (measured && measured.curve.length > 1) parts.push(learningCurve(measured.curve));
  if (!yardstick.size && !(measured && measured.yardstick)) {
    parts.push(
      el("p", { class: "hint" }, "Accuracy is not known yet: chosen items are not a random sample of the pool. ",
        el("button", { type: "button", class: "link", onclick: () => measure(30) }, "Measure it with 30 random items")),
    );
  }
  if (measured && measured.changed.length) {
    const advice = measured.advice;
    parts.push(el("p", { class: "advice" }, `${advice[0].toUpperCase()}${advice.slice(1)}`));
  }
  if (found.agreement) {
    const { same, of } = found.agreement;
    parts.push(el("p", { class: "hint" }, `Annotators agree on ${same} of ${of} items that two answered.`));
  }
  return parts;
}

/** Draws the pool on a canvas; click, or arrow keys and Enter, open an item. */
export class PoolMap {
  constructor(canvas, open) {
    Object.assign(this, { canvas, open, data: null, cursor: -1, now: -1 });
    canvas.addEventListener("click", (event) => {
      const i = this.nearest(event.offsetX, event.offsetY, 18);
      if (i >= 0) this.open(this.data.positions[i]);
    });
    canvas.addEventListener("pointermove", (event) => {
      canvas.style.cursor = this.nearest(event.offsetX, event.offsetY, 10) >= 0 ? "pointer" : "default";
    });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => { this.cursor = -1; this.draw(); });
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  set(data) {
    this.data = data;
    this.index = new Map(data.positions.map((position, i) => [position, i]));
    this.draw();
  }

  colour(position, number) {
    const i = this.index?.get(position);
    if (i !== undefined) this.data.classes[i] = number;
  }

  place(i, width = this.canvas.clientWidth, height = this.canvas.clientHeight) {
    const pad = 10;
    return [pad + this.data.x[i] * (width - 2 * pad), pad + (1 - this.data.y[i]) * (height - 2 * pad)];
  }

  /** Draws after the next frame: an item never waits for the map of thousands. */
  soon() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => setTimeout(() => { this.due = false; this.draw(); }));
  }

  nearest(x, y, within) {
    let best = -1, least = within * within;
    for (let i = 0; this.data && i < this.data.positions.length; i++) {
      const [px, py] = this.place(i), apart = (px - x) ** 2 + (py - y) ** 2;
      if (apart < least) [best, least] = [i, apart];
    }
    return best;
  }

  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Enter" && this.cursor >= 0) this.open(this.data.positions[this.cursor]);
    if (!way || !this.data) return;
    event.preventDefault();
    event.stopPropagation();
    if (this.cursor < 0) this.cursor = this.index.get(this.now) ?? 0;
    else {
      const [x, y] = this.place(this.cursor);
      let best = -1, least = Infinity;
      for (let i = 0; i < this.data.positions.length; i++) {
        const [px, py] = this.place(i), along = (px - x) * way[0] + (py - y) * way[1];
        const across = Math.abs((px - x) * way[1]) + Math.abs((py - y) * way[0]);
        if (along > 1 && along + 2.5 * across < least) [best, least] = [i, along + 2.5 * across];
      }
      if (best >= 0) this.cursor = best;
    }
    this.draw();
  }

  draw() {
    const { canvas, data } = this, ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
    pen.scale(ratio, ratio);
    if (!data) return;
    const colours = Array.from({ length: 12 }, (_, i) => style.getPropertyValue(`--c${i + 1}`));
    const small = data.positions.length > 3000 ? 1.3 : data.positions.length > 600 ? 1.8 : 2.4;
    const circle = (i, radius) => {
      const [x, y] = this.place(i, width, height);
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
    };
    pen.fillStyle = style.getPropertyValue("--points");
    const dotted = data.positions.length > 3000; // squares of this size look like dots, and are drawn much sooner
    for (let i = 0; i < data.positions.length; i++) {
      if (data.classes[i]) continue;
      if (dotted) {
        const [x, y] = this.place(i, width, height);
        pen.fillRect(x - small, y - small, 2 * small, 2 * small);
      } else {
        circle(i, small);
        pen.fill();
      }
    }
    pen.strokeStyle = style.getPropertyValue("--surface");
    for (let i = 0; i < data.positions.length; i++) {
      if (!data.classes[i]) continue;
      circle(i, 4);
      pen.fillStyle = colours[(data.classes[i] - 1) % 12];
      pen.fill();
      pen.stroke();
    }
    for (const [i, name] of [[this.index.get(this.now), "--ink"], [this.cursor, "--accent"]]) {
      if (i === undefined || i < 0) continue;
      circle(i, 7);
      pen.lineWidth = 2;
      pen.strokeStyle = style.getPropertyValue(name);
      pen.stroke();
    }
  }
}
