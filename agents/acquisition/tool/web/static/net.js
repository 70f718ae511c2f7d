// What the page knows, and how it talks to the server.

export const $ = (id) => document.getElementById(id);
export const base = document.body.dataset.base;

/** Returns where a picture ("picture", "large") or sound ("sound") of an item is. */
export const address = (position, kind = "picture") =>
  kind === "large" ? `${base}/picture/${position}?large` : `${base}/${kind}/${position}`;

const tab = (sessionStorage.tab ??= crypto.randomUUID().replaceAll("-", ""));

export const page = {
  annotator: new URLSearchParams(location.search).get("as") ?? sessionStorage.annotator ?? "",
  state: null, // what the server said last
  view: null, // the item on the screen
  visiting: false, // whether that is another item than the one to be answered next
  unsure: false,
  busy: false, // whether an answer is on its way
};

/** Returns the number of a class, 0 for none. */
export const numberOf = (name) => page.state?.classes.find((c) => c.name === name)?.number ?? 0;

/** What went wrong stands in the banner already. */
class Told extends Error {}

export async function ask(path, body) {
  const options = body
    ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }
    : {};
  let response;
  try {
    response = await fetch(`${base}/api/${path}`, options);
  } catch {
    banner("The labelling server does not answer. Every answer so far is saved: run the same command again.");
    throw new Told("no server");
  }
  const found = await response.json().catch(() => ({ error: `The server answered ${response.status}.` }));
  if (found.error) {
    banner(found.error);
    throw new Told(found.error);
  }
  banner("");
  return found;
}

export const who = () => `tab=${tab}&annotator=${encodeURIComponent(page.annotator)}`;
export const change = (path, body = {}) => ask(path, { tab, annotator: page.annotator, ...body });

/** Runs one change at a time: a key that is pressed meanwhile would mean an item that nobody saw. */
export async function once(work) {
  if (page.busy) return;
  page.busy = true;
  document.body.classList.add("busy");
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Told)) console.error(error);
  } finally {
    page.busy = false;
    document.body.classList.remove("busy");
  }
}

let fading = 0;
export function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  clearTimeout(fading);
  fading = setTimeout(() => $("toast").classList.remove("on"), 1800);
}

export function banner(text) {
  $("banner").hidden = !text;
  if ($("banner").textContent !== text) $("banner").textContent = text;
}
