"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");

// The figures carry the light theme's colours; in the dark each is swapped for its partner.
function themed(value, swap) {
  if (typeof value === "string") return swap.get(value) ?? value;
  if (Array.isArray(value)) return value.map((inner) => themed(inner, swap));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, themed(inner, swap)]));
  return value;
}

function draw(night) {
  const swap = new Map(night ? Object.values(data.colours) : []);
  for (const [name, figure] of Object.entries(data.charts)) {
    const { data: traces, layout } = themed(figure, swap);
    Plotly.react(`chart-${name}`, traces, layout, { displayModeBar: false, responsive: true });
  }
}

draw(dark.matches);
dark.addEventListener("change", () => draw(dark.matches));
addEventListener("beforeprint", () => draw(false));
addEventListener("afterprint", () => draw(dark.matches));
