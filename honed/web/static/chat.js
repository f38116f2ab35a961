// The chat: asks the models, keeps the conversation, and lets a person choose between two answers.

import { Answer } from "./answer.js";
import * as api from "./api.js";
import { askConsent } from "./consent.js";
import { announce, button, el } from "./dom.js";

const AGAIN_TEMPERATURE = 0.7; // another answer at temperature 0 would be the same one
const at = (id) => document.getElementById(id);
const turns = [];
let running = null; // what stops the answers that are being written

function chosenSegments() {
  const said = {};
  for (const select of document.querySelectorAll("[data-segment]")) {
    if (select.value) said[select.dataset.segment] = select.value;
  }
  return said;
}

/** The turns before `turn` as messages, then its question. A turn without a whole answer is left out. */
function messages(turn) {
  const system = at("system").value.trim();
  const past = turns.slice(0, turns.indexOf(turn)).filter((earlier) => earlier.answer?.kept);
  return [
    ...(system ? [{ role: "system", content: system }] : []),
    ...past.flatMap((earlier) => [
      { role: "user", content: earlier.question },
      { role: "assistant", content: earlier.answer.kept },
    ]),
    { role: "user", content: turn.question },
  ];
}

function request(turn, model, pair, again) {
  const temperature = Number(at("temperature").value);
  const metadata = { ...chosenSegments(), ...(pair ? { pair } : {}) };
  return {
    model,
    messages: messages(turn),
    temperature: again ? Math.max(temperature, AGAIN_TEMPERATURE) : temperature,
    max_tokens: Number(at("max-tokens").value) || undefined,
    seed: crypto.getRandomValues(new Uint32Array(1))[0] >>> 1,
    ...(Object.keys(metadata).length ? { metadata } : {}),
  };
}

/** Keep the newest words in sight, unless the reader has scrolled up to older ones; of two answers, their beginning. */
function following(turn, work) {
  const view = at("conversation");
  const low = view.scrollHeight - view.scrollTop - view.clientHeight < 60;
  work();
  if (!low) return;
  const top = turn.element.offsetTop - view.offsetTop - 16;
  view.scrollTop = turn.element.classList.contains("pair") ? Math.min(top, view.scrollHeight) : view.scrollHeight;
}

function show(turn) {
  at("welcome").hidden = true;
  turn.columns = el("div", { className: "columns" });
  turn.element = el("article", { className: "turn" }, el("div", { className: "asked", textContent: turn.question }), turn.columns);
  at("conversation").append(turn.element);
  turn.element.scrollIntoView({ block: "end" });
}

/** Let one model write into one card. Resolves to whether the answer is whole. */
async function write(turn, answer, body) {
  try {
    const add = (piece) => following(turn, () => answer.add(piece));
    const think = (piece) => following(turn, () => answer.think(piece));
    answer.finish(await api.complete(body, running.signal, add, think));
    return true;
  } catch (error) {
    const stopped = error.name === "AbortError";
    following(turn, () => answer.halt(stopped ? "You stopped this answer, so it can't be rated." : error.message, !stopped));
    return false;
  }
}

function busy(on) {
  running = on ? new AbortController() : null;
  const stopping = document.activeElement === at("stop");
  at("send").hidden = on;
  at("stop").hidden = !on;
  for (const control of at("bar").querySelectorAll("select, input, #fresh")) control.disabled = on;
  for (const again of document.querySelectorAll(".again, .pick, .same")) again.disabled = on;
  if (stopping) at("message").focus({ preventScroll: true });
}

/** Only the newest question can be asked again. */
function settle() {
  for (const turn of turns) for (const answer of turn.answers) answer.settle();
}

async function single(turn, model, again = false) {
  settle();
  const answer = new Answer(model, () => !running && single(turn, model, true));
  turn.answer = answer;
  turn.answers = [answer];
  following(turn, () => turn.columns.replaceChildren(answer.card));
  busy(true);
  const body = request(turn, model, null, again);
  if (await write(turn, answer, body)) {
    answer.name();
    following(turn, () => answer.rateable({ last: true }));
  }
  busy(false);
}

/** Two answers side by side, in random order and without names until one is chosen. */
async function double(turn, models) {
  settle();
  const order = crypto.getRandomValues(new Uint8Array(1))[0] & 1 ? models : [...models].reverse();
  const pair = Array.from(crypto.getRandomValues(new Uint32Array(3)), (part) => part.toString(36)).join("-");
  const again = () => !running && double(turn, models);
  turn.answers = ["Answer A", "Answer B"].map((label) => new Answer(label, again));
  turn.answer = turn.answers[0];
  turn.element.classList.add("pair");
  following(turn, () => turn.columns.replaceChildren(...turn.answers.map((answer) => answer.card)));
  busy(true);
  const written = turn.answers.map((answer, i) => write(turn, answer, request(turn, order[i], pair, false)));
  if ((await Promise.all(written)).every(Boolean)) following(turn, () => offerChoice(turn));
  else settleOnWhole(turn);
  busy(false);
}

/** One of the two broke off: the other, if it is whole, can still be rated by itself. */
function settleOnWhole(turn) {
  const whole = turn.answers.find((answer) => answer.honed);
  turn.answer = whole ?? turn.answers[0];
  if (!whole) return;
  whole.name();
  whole.rateable({ last: true });
}

function offerChoice(turn) {
  turn.answers.forEach((answer, i) => {
    const other = turn.answers[1 - i];
    const words = `${answer.label.textContent} is better`;
    answer.tools.replaceChildren(answer.row("", button(words, () => choose(turn, answer, other), { className: "pick primary" })));
  });
  turn.same = button("No difference", () => reveal(turn, turn.answers[0]), { className: "same" });
  turn.element.append(turn.same);
  announce("Both answers are complete. Choose the better one.");
}

async function choose(turn, better, worse) {
  const picks = turn.element.querySelectorAll(".pick, .same");
  for (const pick of picks) pick.disabled = true;
  try {
    const receipt = await api.feedback({ token: better.token, kind: "choice", rejected_token: worse.token });
    better.token = receipt.feedback_token;
    worse.token = receipt.rejected_feedback_token;
  } catch (error) {
    better.say(error.message, true);
    for (const pick of picks) pick.disabled = false;
    return;
  }
  better.card.classList.add("chosen");
  worse.card.classList.add("passed-over");
  reveal(turn, better);
  better.say("Your choice is saved. Thank you. The conversation goes on with this answer.");
}

/** Name the models and go on with `kept`. */
function reveal(turn, kept) {
  turn.answer = kept;
  turn.same.remove();
  turn.same = null;
  for (const answer of turn.answers) {
    answer.name();
    answer.rateable({ last: false });
  }
}

function send(question) {
  const before = turns.at(-1);
  if (before?.same) reveal(before, before.answers[0]);
  const turn = { question, answers: [], answer: null };
  turns.push(turn);
  show(turn);
  const comparing = at("compare")?.checked;
  return comparing ? double(turn, [at("model").value, at("other").value]) : single(turn, at("model").value);
}

function grow() {
  const box = at("message");
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 220)}px`;
}

at("composer").onsubmit = (event) => {
  event.preventDefault();
  const question = at("message").value.trim();
  if (!question || running) return;
  at("message").value = "";
  grow();
  send(question);
};
at("message").oninput = grow;
at("message").onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("composer").requestSubmit();
};
at("stop").onclick = () => running?.abort();
at("bar").onsubmit = (event) => event.preventDefault();
at("compare")?.addEventListener("change", () => {
  at("second").hidden = !at("compare").checked;
});
at("fresh").onclick = () => {
  turns.length = 0;
  at("conversation").replaceChildren();
  at("welcome").hidden = false;
  at("message").focus();
};
document.addEventListener("click", (event) => {
  const settings = document.querySelector(".settings");
  if (settings.open && !settings.contains(event.target)) settings.open = false;
});
askConsent();
