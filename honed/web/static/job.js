// A job as it runs: progress of each stage, the curve, the newest values, what it says. Reads the job's own events from
// the first one on, so that a reload shows the same as staying.

import { button, el } from "./dom.js";

const at = (id) => document.getElementById(id);
const live = at("live");
const stages = new Map(); // name -> {step, total, times}
const curves = new Map(); // value's name -> Map(step -> value); a step done again after a resume counts once
const heldout = new Map(); // metric's name -> Map(step -> value)
const latest = new Map();
const notes = [];
let shown = null;
let due = false;

const words = (name) => name.replace("_per_second", "/s").replace("heldout", "held-out").replaceAll("_", " ");
const number = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(4)).toString());

function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

function take(event) {
  if (event.type === "step") {
    const stage = stages.get(event.stage) ?? { recent: [] };
    const again = stage.recent.length && stage.recent.at(-1).step >= event.step;
    stage.recent = [...(again ? [] : stage.recent.slice(-30)), { step: event.step, time: event.time }];
    stages.set(event.stage, Object.assign(stage, { step: event.step, total: event.total }));
    for (const [name, value] of Object.entries(event.values)) {
      if (event.step === 1) curves.delete(partOf(event.stage) + name); // a training that begins anew may have fewer steps
      put(curves, partOf(event.stage) + name, event.step, value);
    }
  } else if (event.type === "begun") {
    for (const stage of stages.values()) stage.recent = []; // the time between two attempts isn't that of a step
  } else if (event.type === "metric") {
    if (event.step === 0) heldout.delete(event.name);
    put(heldout, event.name, event.step, event.value);
  }
  else if (event.type === "note") notes.push(event.text);
}

/** A round tells of its jobs' stages as "sft: train": their values are curves of their own, "sft loss". */
const partOf = (stage) => (stage.includes(": ") ? `${stage.split(": ")[0]} ` : "");

/** What is measured on held-out rows beside a curve; a loss per pair isn't on the scale of theirs. */
function heldoutOf(name) {
  const part = name.slice(0, name.lastIndexOf(" ") + 1);
  return curves.has(`${part}margin`) ? [] : (heldout.get(`${part}heldout_${name.slice(part.length)}`) ?? []);
}

function put(all, name, step, value) {
  if (!all.has(name)) all.set(name, new Map());
  all.get(name).set(step, value);
  latest.set(name, value);
}

function left({ step, total, recent }) {
  if (recent.length < 2) return "";
  const [first, last] = [recent[0], recent.at(-1)];
  if (step >= total) return "";
  return `, about ${duration(((total - step) * (last.time - first.time)) / (last.step - first.step))} left`;
}

function drawStages() {
  const running = at("state").dataset.state === "running" || at("state").dataset.state === "queued";
  at("stages").replaceChildren(
    ...[...stages].map(([name, stage]) => {
      const said = `${stage.step} of ${stage.total}${running ? left(stage) : ""}`;
      const bar = el("progress", { max: stage.total || 1, value: stage.step, "aria-label": words(name) });
      return el("div", { className: "stage" }, el("p", {}, el("b", { textContent: words(name) }), el("span", { className: "soft", textContent: said })), bar);
    }),
  );
}

/** A trailing mean over a twentieth of the run, as in the report: it lags a little and never looks ahead. */
function smooth(values) {
  const width = Math.max(1, Math.floor(values.length / 20));
  return values.map((_, end) => {
    const part = values.slice(Math.max(0, end + 1 - width), end + 1);
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
}

const sorted = (points) => [...points].sort((a, b) => a[0] - b[0]);
const line = (points, rest) => ({ x: points.map((p) => p[0]), y: points.map((p) => p[1]), mode: "lines", hovertemplate: "step %{x}: %{y:.4g}", ...rest });

function traces(colour) {
  const points = sorted(curves.get(shown) ?? []);
  const made = [];
  if (points.length) {
    const mean = smooth(points.map((p) => p[1]));
    made.push(line(points, { name: "each step", line: { color: colour("--faint"), width: 1 }, opacity: 0.55 }));
    made.push(line(points.map((p, i) => [p[0], mean[i]]), { name: "running mean", line: { color: colour("--after"), width: 2.5 } }));
  }
  const held = sorted(heldoutOf(shown));
  if (held.length) {
    made.push(line(held, { name: "held out", mode: "lines+markers", line: { color: colour("--before"), width: 2, dash: "dot" }, marker: { size: 8, symbol: "diamond" } }));
  }
  return made;
}

function drawCurve() {
  const names = [...curves.keys()];
  if (!names.length || !window.Plotly) return;
  shown ??= names.find((name) => name === "loss" || name.endsWith(" loss")) ?? names[0];
  at("curve").hidden = false;
  at("curve-title").textContent = words(shown).replace(/^./, (letter) => letter.toUpperCase());
  at("choices").replaceChildren(
    ...names.map((name) => button(words(name), () => { shown = name; draw(); }, { "aria-pressed": String(name === shown) })),
  );
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--rule"), zeroline: false, linecolor: colour("--rule") };
  const layout = {
    margin: { l: 48, r: 12, t: 12, b: 44 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: style.fontFamily, color: colour("--soft"), size: 13 },
    xaxis: { ...axis, title: { text: "step", standoff: 6, font: { size: 13 } }, rangemode: "tozero" },
    yaxis: axis,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 1, xanchor: "right" },
    hovermode: "x unified",
    uirevision: shown,
  };
  window.Plotly.react(at("plot"), traces(colour), layout, { displayModeBar: false, responsive: true });
  const tiles = [...latest].map(([name, value]) => el("div", {}, el("dt", { textContent: words(name) }), el("dd", { textContent: number(value) })));
  at("latest").replaceChildren(...tiles);
}

function draw() {
  due = false;
  drawStages();
  drawCurve();
  at("notes").hidden = !notes.length;
  at("note-list").replaceChildren(...notes.map((text) => el("li", { textContent: text })));
}

function drawSoon() {
  if (due) return;
  due = true;
  setTimeout(draw, 200);
}

const source = new EventSource(`/api/jobs/${encodeURIComponent(live.dataset.job)}/events`);
source.onmessage = (message) => {
  JSON.parse(message.data).forEach(take);
  drawSoon();
};
source.addEventListener("end", () => {
  source.close();
  const known = at("state").dataset.state;
  if (known === "running" || known === "queued") location.reload(); // it ended while we looked on: show its result
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
