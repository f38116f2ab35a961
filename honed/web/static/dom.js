// Elements from plain values. Text is only ever set as text: nothing that a person or a model says becomes markup.

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  up: ["M7 11v9H4v-9zM7 11l4-8c1.4 0 2.4 1 2.2 2.4L12.6 9H18a2 2 0 0 1 2 2.3l-1.1 7A2 2 0 0 1 17 20H7"],
  down: ["M17 13V4h3v9zM17 13l-4 8c-1.4 0-2.4-1-2.2-2.4l.6-3.6H6a2 2 0 0 1-2-2.3l1.1-7A2 2 0 0 1 7 4h10"],
  pen: ["M4 20l1-4L16.5 4.5a2.1 2.1 0 0 1 3 3L8 19z", "M14.5 6.5l3 3"],
  again: ["M20 11a8 8 0 1 0-2.3 6.3", "M20 5v6h-6"],
};

/** Make an element; `props` are its properties, or attributes where the name has a dash or is `role` or `for`. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Draw one of a few icons; the words beside it say what it means. */
export function icon(name) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("viewBox", "0 0 24 24");
  made.setAttribute("aria-hidden", "true");
  for (const shape of PATHS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", shape);
    made.append(path);
  }
  return made;
}

/** Make a button that does not submit. */
export function button(words, onclick, props = {}, picture = null) {
  return el("button", { type: "button", onclick, ...props }, picture ? icon(picture) : null, words);
}

/** Say something to screen readers without showing it. */
export function announce(words) {
  document.getElementById("announce").textContent = words;
}
