// Two answers side by side: a person says by key or button which is better, and the server keeps it at once.

import { announce, el } from "./dom.js";

const KEYS = { 1: "left", 2: "right", t: "tie", s: "skip" };
const SETTLE_MS = 250; // a key that is still held from the pair before says nothing of this one
const RATER = "honed-rater";

const at = (id) => document.getElementById(id);
let rater = "";
let shown = null; // the pair on the page
let since = 0; // when it came
let busy = false;

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server can't be reached; nothing was lost. Is `honed judge` still running?");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.error?.message ?? `The server answered ${response.status}.`);
  return answer;
}

function show(place) {
  shown = place.shown;
  at("welcome").hidden = true;
  at("judging").hidden = shown === null;
  at("over").hidden = shown !== null;
  at("progress").value = place.done;
  at("count").textContent = `${place.done} of ${place.total} done`;
  at("all").textContent = place.done;
  at("who").textContent = rater;
  if (shown === null) {
    announce("All done, thank you.");
    at("again").focus();
    return;
  }
  at("prompt").replaceChildren(
    ...shown.prompt.map((turn) => el("div", { className: "turn-of" }, el("span", { className: "role", textContent: turn.role }), el("div", { textContent: turn.content }))),
  );
  for (const side of ["left", "right"]) {
    const text = at(side).querySelector(".said");
    text.textContent = shown[side];
    text.classList.toggle("nothing", !shown[side].trim());
    text.scrollTop = 0;
    at(side).classList.toggle("chosen", shown.said === side);
  }
  for (const button of document.querySelectorAll("[data-choice]")) button.setAttribute("aria-pressed", String(shown.said === button.dataset.choice));
  at("back").disabled = place.done === 0;
  at("prompt").scrollTop = 0;
  since = performance.now();
  announce(`Prompt ${Math.min(place.done + 1, place.total)} of ${place.total}`);
}

/** Do one thing at a time; what goes wrong is said, and the pair stays. */
async function work(task, trouble = "trouble") {
  if (busy) return;
  busy = true;
  at(trouble).textContent = "";
  try {
    show(await task());
  } catch (error) {
    at(trouble).textContent = error.message;
  } finally {
    busy = false;
  }
}

function choose(choice) {
  if (shown === null || performance.now() - since < SETTLE_MS) return;
  const seconds = (performance.now() - since) / 1000;
  work(() => ask("/api/labels", { rater, pair: shown.pair, choice, seconds }));
}

const named = () => `rater=${encodeURIComponent(rater)}`;
const back = () => work(() => ask(`/api/pairs/last?${named()}`));

at("welcome").addEventListener("submit", (event) => {
  event.preventDefault();
  rater = at("rater").value.trim();
  localStorage.setItem(RATER, rater);
  work(() => ask(`/api/pairs/next?${named()}`), "refused");
});
for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => choose(button.dataset.choice));
at("back").addEventListener("click", back);
at("again").addEventListener("click", back);
document.addEventListener("keydown", (event) => {
  if (!at("welcome").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "b") back();
  else if (KEYS[key]) choose(KEYS[key]);
});
at("rater").value = localStorage.getItem(RATER) ?? "";
