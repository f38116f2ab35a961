// One answer on the page: its text as it comes, and the ways to say what was good or bad about it.

import * as api from "./api.js";
import { announce, button, el } from "./dom.js";

const THANKS = "Saved. Thank you.";

/** An answer card. `again` is called to ask for another answer to the same question. */
export class Answer {
  constructor(label, again) {
    this.text = "";
    this.edit = null;
    this.thought = null;
    this.sending = false; // a token is good for one word, so one goes at a time
    this.honed = null;
    this.token = null;
    this.again = again;
    this.label = el("b", { textContent: label });
    this.note = el("span");
    this.said = el("div", { className: "said" });
    this.said.setAttribute("aria-busy", "true");
    this.tools = el("div", { className: "tools" });
    this.outcome = el("p", { className: "outcome", role: "status" });
    const below = el("div", { className: "below" }, this.tools, this.outcome);
    const who = el("div", { className: "who" }, this.label, this.note);
    this.card = el("section", { className: "answer writing", "aria-label": label }, who, this.said, below);
  }

  /** What the conversation goes on from: the person's better wording, if there is one. */
  get kept() {
    return this.edit ?? this.text;
  }

  add(piece) {
    this.text += piece;
    this.said.append(piece);
  }

  /** Reasoning before the answer: folded, and no part of the conversation. */
  think(piece) {
    if (!this.thought) {
      this.thought = el("div");
      this.said.before(el("details", { className: "thought" }, el("summary", { textContent: "Reasoning" }), this.thought));
    }
    this.thought.append(piece);
  }

  /** The answer is whole and stored. */
  finish({ finish, honed }) {
    this.honed = honed;
    this.token = honed.feedback_token;
    this.quiet();
    if (finish === "length") this.note.textContent = "cut off at the longest length";
    announce("The answer is complete.");
  }

  /** The answer is not whole: `words` say why. */
  halt(words, bad) {
    this.quiet();
    this.say(words, bad);
    this.card.classList.add("halted");
    this.tools.replaceChildren(this.row("", this.retry()));
  }

  quiet() {
    this.card.classList.remove("writing");
    this.said.setAttribute("aria-busy", "false");
  }

  name() {
    this.label.textContent = this.honed.model;
    this.card.setAttribute("aria-label", this.honed.model);
  }

  say(words, bad = false) {
    this.outcome.textContent = words;
    this.outcome.classList.toggle("bad", bad);
  }

  row(question, ...buttons) {
    const ask = question ? el("span", { className: "ask", textContent: question }) : null;
    return el("div", { className: "rate", role: "group", "aria-label": question || "Answer" }, ask, ...buttons);
  }

  retry() {
    return button("Try again", () => this.again(), { className: "again", title: "Ask for another answer" }, "again");
  }

  /** Show the thumbs, the pen and the way to another answer. */
  rateable({ last }) {
    this.up = button("Good", () => this.thumb(true), { className: "up", "aria-pressed": "false" }, "up");
    this.down = button("Not good", () => this.thumb(false), { className: "down", "aria-pressed": "false" }, "down");
    this.pen = button("Write it better", () => this.open(), { className: "pen" }, "pen");
    this.end = el("span", { className: "end" }, ...(last ? [this.retry()] : []));
    this.why = el("input", { type: "text", maxLength: 2000, "aria-label": "Why" });
    this.reason = el("form", { className: "why", hidden: true }, this.why, el("button", { textContent: "Add reason" }));
    this.reason.onsubmit = (event) => {
      event.preventDefault();
      this.explain();
    };
    this.tools.replaceChildren(this.row("Is this answer good?", this.up, this.down, this.pen, this.end), this.reason);
  }

  /** Take away the way to another answer. */
  settle() {
    if (this.honed) this.end?.replaceChildren();
    else this.tools.replaceChildren();
  }

  /** Send feedback on this answer with its token and keep the next token. Resolves to whether it was stored. */
  async send(body) {
    if (this.sending) return false;
    this.sending = true;
    try {
      const receipt = await api.feedback({ token: this.token, ...body });
      this.token = receipt.feedback_token;
      this.say(THANKS);
      return true;
    } catch (error) {
      this.say(error.message, true);
      return false;
    } finally {
      this.sending = false;
    }
  }

  async thumb(good) {
    if (!(await this.send({ kind: "thumb", good }))) return;
    this.good = good;
    this.up.setAttribute("aria-pressed", String(good));
    this.down.setAttribute("aria-pressed", String(!good));
    this.why.placeholder = good ? "What was good about it? (if you like)" : "What was wrong with it? (if you like)";
    this.reason.hidden = false;
  }

  async explain() {
    const reason = this.why.value.trim();
    if (!reason || !(await this.send({ kind: "thumb", good: this.good, reason }))) return;
    this.reason.hidden = true;
    this.why.value = "";
    this.say("Saved with your reason. Thank you.");
  }

  /** Put an editor in the answer's place. */
  open() {
    const area = el("textarea", { value: this.kept, maxLength: 20000, "aria-label": "A better answer" });
    const save = button("Save the better answer", () => this.save(area.value, close), { className: "primary" });
    const editor = el("div", { className: "editor" }, area, el("div", { className: "row" }, save));
    const close = () => {
      editor.remove();
      this.said.hidden = this.tools.hidden = false;
      this.pen.focus();
    };
    editor.lastChild.append(button("Cancel", close));
    area.onkeydown = (event) => {
      if (event.key === "Escape") close();
    };
    this.say("");
    this.said.hidden = this.tools.hidden = true;
    this.said.after(editor);
    area.style.height = `${Math.min(area.scrollHeight + 4, 480)}px`;
    area.focus();
  }

  async save(words, close) {
    const text = words.trim();
    if (!text || text === this.kept) {
      this.say(text ? "That is the same answer. Change something, or cancel." : "The better answer is empty.", true);
      return;
    }
    if (!(await this.send({ kind: "edit", text }))) return;
    this.edit = text;
    this.said.textContent = text;
    this.note.textContent = "in your words";
    this.card.querySelector(".original")?.remove();
    const before = el("div", { textContent: this.text });
    this.said.after(el("details", { className: "original" }, el("summary", { textContent: "What the model said" }), before));
    close();
  }
}
