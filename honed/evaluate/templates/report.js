// Every text of a row or a model enters the page as textContent: it is data, never markup.
function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function said(side, answer) {
  const box = element("div", `said ${side}`);
  const mark = answer.passed === null ? ["none", "not judged"] : answer.passed ? ["pass", "✓ passes"] : ["fail", "✗ fails"];
  const head = element("h4");
  head.append(element("span", side, side), element("span", `mark ${mark[0]}`, mark[1]));
  const why = answer.why + (answer.cut ? " (cut at the longest length)" : "");
  box.append(head, element("div", "text", answer.answer), element("p", "why", why));
  return box;
}

function card(row) {
  const made = document.getElementById("row-template").content.cloneNode(true);
  const kind = made.querySelector(".kind");
  kind.append(element("span", `fate ${row.fate}`, data.fates[row.fate]));
  for (const tag of data.tags) if (tag in row.tags) kind.append(element("span", "", row.tags[tag].replaceAll("_", " ")));
  for (const message of row.prompt) {
    const turn = element("div", "turn");
    turn.append(element("span", "role", message.role), element("div", "text", message.content));
    made.querySelector(".prompt").append(turn);
  }
  made.querySelector(".both").append(said("base", row.base), said("tuned", row.tuned));
  made.querySelector("details .text").textContent = row.ideal;
  return made;
}

const step = 10;
let shown = step;

function browse() {
  const [task, fate, text] = ["by-task", "by-fate", "by-text"].map((id) => document.getElementById(id).value);
  const wanted = text.toLowerCase();
  const rows = data.rows.filter((row) =>
    (!task || row.tags.task === task) && (!fate || row.fate === fate) &&
    (!wanted || [row.base.answer, row.tuned.answer, ...row.prompt.map((message) => message.content)]
      .some((part) => part.toLowerCase().includes(wanted))));
  document.getElementById("found").textContent = `${rows.length} rows`;
  document.getElementById("rows").replaceChildren(...rows.slice(0, shown).map(card));
  document.getElementById("more").hidden = rows.length <= shown;
}

function options(id, pairs) {
  for (const [value, text] of pairs) {
    const option = element("option", "", text);
    option.value = value;
    document.getElementById(id).append(option);
  }
}

if (data.rows.length) {
  const present = (values) => [...new Set(values)].filter(Boolean).sort();
  options("by-task", present(data.rows.map((row) => row.tags.task)).map((task) => [task, task.replaceAll("_", " ")]));
  options("by-fate", present(data.rows.map((row) => row.fate)).map((fate) => [fate, data.fates[fate]]));
  for (const id of ["by-task", "by-fate", "by-text"])
    document.getElementById(id).addEventListener("input", () => { shown = step; browse(); });
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("more").addEventListener("click", () => { shown += step; browse(); });
  document.getElementById("browser").hidden = false;
  browse();
}
