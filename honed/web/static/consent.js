// Asks once whether what a person says may train the next model, and lets them change their mind.

import * as api from "./api.js";

const at = (id) => document.getElementById(id);

function show(granted) {
  at("consent").hidden = granted !== null;
  at("allowed").hidden = granted === null;
  at("allowed-text").textContent = granted ? "Your ratings may train the next model." : "Your ratings train no model.";
  at("change").textContent = granted ? "Don't allow it" : "Allow it";
  at("change").onclick = () => set(!granted);
}

function complain(error) {
  at("allowed").hidden = false;
  at("allowed-text").textContent = error.message;
}

async function set(granted) {
  try {
    await api.setConsent(granted);
    show(granted);
  } catch (error) {
    complain(error);
  }
}

/** Show the question if it was never answered, else the answer. */
export async function askConsent() {
  for (const button of document.querySelectorAll("[data-grant]")) {
    button.onclick = () => set(button.dataset.grant === "yes");
  }
  try {
    show(await api.consent());
  } catch (error) {
    complain(error);
  }
}
