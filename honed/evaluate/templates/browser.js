// Every text of a row or a model enters the page as textContent: it is data, never markup.
function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const at = (id) => document.getElementById(id);
const words = (name) => name.replaceAll("_", " ");
const filters = { task: "by-task", outcome: "by-fate", group: "by-group", text: "by-text" };
const chunk = 100; // lines of the list that are made at a time
let found = [];
let made = 0;
let current = null;

// Text with what was searched for marked; its direction is its own.
function prose(className, text, wanted) {
  const box = element("div", className);
  box.dir = "auto";
  if (!wanted) { box.textContent = text; return box; }
  const lower = text.toLowerCase();
  let from = 0;
  // A letter may change its length with its case: marks are then left out.
  for (let place = lower.length === text.length ? lower.indexOf(wanted) : -1; place >= 0; place = lower.indexOf(wanted, from)) {
    box.append(text.slice(from, place), element("mark", "", text.slice(place, place + wanted.length)));
    from = place + wanted.length;
  }
  box.append(text.slice(from));
  return box;
}

function said(side, answer, wanted) {
  const box = element("div", `said ${side.role}`);
  const mark = answer.passed === null ? ["none", "not judged"] : answer.passed ? ["pass", "✓ passes"] : ["fail", "✗ fails"];
  const head = element("h4");
  head.append(element("span", side.role, side.name), element("span", `mark ${mark[0]}`, mark[1]));
  box.append(head);
  if (answer.parts.length) {
    const list = element("ul", "parts");
    for (const part of answer.parts) {
      const line = element("li", part.passed ? "yes" : "no");
      line.append(element("b", "", part.passed ? "✓" : "✗"), `${part.id}: ${part.text} `, element("span", "", part.why));
      list.append(line);
    }
    box.append(list);
  } else if (answer.why) box.append(prose("why", answer.why, wanted));
  if (answer.reasoning) {
    const thought = element("details");
    thought.append(element("summary", "", "reasoning"), prose("text", answer.reasoning, wanted));
    box.append(thought);
  }
  box.append(prose("text", answer.answer, wanted));
  if (answer.vacuous) box.append(element("span", "flag", `vacuous: ${answer.vacuous}`));
  if (answer.cut) box.append(element("span", "flag", "cut at the longest length"));
  return box;
}

function card(row, wanted) {
  const made = element("article", "row");
  const kind = element("p", "kind");
  kind.append(element("span", `fate ${row.fates[0]}`, data.fates[row.fates[0]]));
  for (const [tag, value] of Object.entries(row.tags)) kind.append(element("span", "", `${tag}: ${words(value)}`));
  const link = element("a", "anchor", `#${row.row}`);
  link.href = `#row=${encodeURIComponent(row.row)}`;
  link.title = "a link to this row";
  kind.append(link);
  const prompt = element("div", "prompt");
  for (const message of row.prompt) {
    const turn = element("div", "turn");
    turn.append(element("span", "role", message.role), prose("text", message.content, wanted));
    prompt.append(turn);
  }
  made.append(kind, prompt);
  if (row.asked) {
    const asked = element("div", "asked");
    asked.append(element("span", "role", "checked"), element("span", "", row.asked));
    made.append(asked);
  }
  const count = row.said.length;
  const answers = element("div", `both ${count === 1 ? "one" : count > 2 ? "many" : ""}`);
  row.said.forEach((answer, place) => answers.append(said(data.sides[place], answer, wanted)));
  made.append(answers);
  if (row.ideal) {
    const ideal = element("details");
    ideal.append(element("summary", "", "ideal answer"), prose("text", row.ideal, wanted));
    made.append(ideal);
  }
  return made;
}

const searched = (row) => row.searched ??= [row.row, row.asked, row.ideal, ...row.prompt.map((message) => message.content),
  ...row.said.flatMap((answer) => [answer.answer, answer.why])].join("\n").toLowerCase();

const value = (name) => at(filters[name]).value;

function fits(row, task, outcome, group, text) {
  return (!task || row.tags.task === task) && (!outcome || row.fates.includes(outcome)) &&
    (!group || row.groups.includes(group)) && (!text || searched(row).includes(text));
}

function item(row) {
  const line = element("li");
  const link = element("a");
  link.href = `#row=${encodeURIComponent(row.row)}`;
  link.dataset.row = row.row;
  link.tabIndex = -1;
  const last = row.prompt.findLast((message) => message.role === "user") ?? row.prompt.at(-1);
  const title = element("span", "line", (last?.content ?? "").slice(0, 200) || "(empty)");
  title.dir = "auto";
  const asks = row.groups.filter((group) => group.startsWith("constraint: ")).map((group) => group.slice(12));
  const of = [row.tags.task, row.tags.audience].filter(Boolean).map(words).join(" · ") || asks.join(" · ") || row.row;
  link.append(element("span", `dot ${row.fates[0]}`), title, element("span", "of", of));
  line.append(link);
  return line;
}

function more(to = made + chunk) {
  at("list").append(...found.slice(made, to).map(item));
  made = Math.min(found.length, to);
}

// Keep what is seen in the address, without a new page in the browser's history.
function address() {
  const parts = new URLSearchParams();
  for (const name of Object.keys(filters)) if (value(name)) parts.set(name, value(name));
  if (current) parts.set("row", current.row);
  history.replaceState(null, "", `#${parts}`);
}

function select(row, follow = true) {
  current = row ?? null;
  at("rows").replaceChildren(...(row ? [card(row, value("text").toLowerCase())] : []));
  at("rows").scrollTop = 0;
  at("list").querySelector("[aria-current]")?.removeAttribute("aria-current");
  if (row) {
    const place = found.indexOf(row);
    if (place >= made) more(place + chunk);
    const link = at("list").children[place]?.firstElementChild;
    link?.setAttribute("aria-current", "true");
    if (follow && link) {
      const list = at("list"), top = link.offsetTop - list.offsetTop; // scrolls the list, and never the page
      if (top < list.scrollTop) list.scrollTop = top;
      else if (top + link.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top + link.offsetHeight - list.clientHeight;
    }
  }
  address();
}

function browse(wanted) {
  const asked = ["task", "outcome", "group"].map(value);
  const text = value("text").toLowerCase();
  found = data.rows.filter((row) => fits(row, ...asked, text));
  at("found").textContent = `${found.length.toLocaleString("en")} row${found.length === 1 ? "" : "s"}`;
  at("list").replaceChildren();
  made = 0;
  more();
  at("list").scrollTop = 0;
  select(found.find((row) => row.row === wanted) ?? found[0]);
}

function step(by) {
  const next = found[found.indexOf(current) + by];
  if (next) select(next);
}

// An address may name a row, or a group and an outcome: links of this page, and those that people send.
function follow() {
  const parts = new URLSearchParams(location.hash.slice(1));
  if (!["row", ...Object.keys(filters)].some((name) => parts.has(name))) return false;
  for (const [name, id] of Object.entries(filters)) {
    at(id).value = parts.get(name) ?? "";
    if (at(id).selectedIndex === -1) at(id).value = "";
  }
  browse(parts.get("row"));
  return true;
}

function options(parent, pairs) {
  for (const [name, text] of pairs) {
    const option = element("option", "", text);
    option.value = name;
    parent.append(option);
  }
}

function groups() {
  const sizes = new Map();
  for (const row of data.rows) for (const group of row.groups) sizes.set(group, (sizes.get(group) ?? 0) + 1);
  const kinds = Map.groupBy?.([...sizes.keys()].sort(), (group) => group.split(": ", 1)[0]) ?? new Map();
  for (const [kind, names] of kinds) {
    const box = element("optgroup");
    box.label = kind;
    options(box, names.map((name) => [name, `${words(name.slice(kind.length + 2))} (${sizes.get(name)})`]));
    at("by-group").append(box);
  }
}

function keys(event) {
  const typing = event.target.matches?.("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    for (const id of Object.values(filters)) at(id).value = "";
    event.target.blur?.();
    browse(current?.row);
  } else if (typing) return;
  else if (event.key === "/") { at("by-text").focus(); at("browser").scrollIntoView(); }
  else if (event.key === "j" || (event.key === "ArrowDown" && event.target === at("list"))) step(1);
  else if (event.key === "k" || (event.key === "ArrowUp" && event.target === at("list"))) step(-1);
  else return;
  event.preventDefault();
}

if (data.rows.length) {
  const present = (values) => [...new Set(values)].filter(Boolean).sort();
  options(at("by-task"), present(data.rows.map((row) => row.tags.task)).map((task) => [task, words(task)]));
  const fates = new Set(data.rows.flatMap((row) => row.fates));
  options(at("by-fate"), Object.entries(data.fates).filter(([fate]) => fates.has(fate)));
  groups();
  for (const [id, single] of [["by-task", at("by-task").length < 3], ["by-group", at("by-group").length < 2]])
    at(id).parentElement.hidden = single;
  for (const id of Object.values(filters)) at(id).addEventListener("input", () => browse(current?.row));
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  at("list").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    event.preventDefault();
    select(data.rows.find((row) => row.row === link.dataset.row), false);
  });
  at("list").addEventListener("scroll", () => {
    const list = at("list");
    if (list.scrollTop + 2 * list.clientHeight > list.scrollHeight && made < found.length) more();
  });
  addEventListener("keydown", keys);
  addEventListener("hashchange", () => { if (follow()) at("browser").scrollIntoView(); });
  at("browser").hidden = false;
  if (follow()) requestAnimationFrame(() => at("browser").scrollIntoView());
  else { const before = location.hash; browse(); if (!before) history.replaceState(null, "", location.pathname + location.search); }
}
