// The page: which view is shown, and the stream that all of them live on.

import { showFoot } from "./action_dialog.js";
import { arrangeView } from "./arrange_view.js";
import { clockBar } from "./clock_bar.js";
import { element, openDialog, setText } from "./dom.js";
import { tokens } from "./emulator.js";
import { apply, model, onChange, prebuilds, schedule } from "./model.js";
import { poolsView } from "./pools_view.js";
import { prebuildsView } from "./prebuilds_view.js";
import { requestsView } from "./requests_view.js";
import { follow } from "./stream.js";
import { clock } from "./time.js";

const byId = (id) => document.getElementById(id);
const FRAME = 100; // milliseconds between two drawings while the time runs

const views = {
  prebuilds: prebuildsView(byId("prebuilds")),
  pools: poolsView(byId("pools")),
  requests: requestsView(byId("requests")),
  arrange: arrangeView(byId("arrange")),
};
const bar = clockBar(byId("clock"));
showFoot(byId("call"));

let shown = "";

function route() {
  const wanted = location.hash.slice(1);
  shown = wanted in views ? wanted : "prebuilds";
  for (const name of Object.keys(views)) byId(name).hidden = name !== shown;
  for (const link of byId("views").querySelectorAll("a")) {
    if (link.hash === `#${shown}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  draw();
}

function draw() {
  const counts = {
    prebuilds: prebuilds().length,
    pools: model.pools.length,
    requests: model.requests.size,
    arrange: model.outcomes.length + model.faults.filter((fault) => fault.pending).length,
  };
  for (const count of document.querySelectorAll("[data-count]")) setText(count, String(counts[count.dataset.count]));
  bar.draw();
  views[shown].draw();
}

onChange(draw);
addEventListener("hashchange", route);
document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || document.querySelector("dialog")) return;
  views[shown].search?.focus();
  event.preventDefault();
});
setInterval(() => {
  if (!clock().frozen && !document.hidden) schedule();
}, FRAME);

const STATES = { live: "live", lost: "connection lost", full: "too many pages", locked: "locked" };

function setState(state) {
  const place = byId("connection");
  place.dataset.state = state;
  setText(place, STATES[state]);
  return state === "locked" ? askForTokens(true) : undefined;
}

/** Asks for the tokens of an emulator that is protected. Resolves once the dialog is closed. */
function askForTokens(isLocked) {
  return new Promise((resolve) => {
    const inputs = [
      ["control plane", "Control token", isLocked],
      ["service", "API token", false],
    ].map(([plane, label, required]) => {
      const id = `token-${plane.replace(" ", "-")}`;
      const input = element("input", { type: "password", id, required, autocomplete: "off" });
      input.value = tokens.get(plane);
      return { plane, input, row: element("div", { class: "field" }, element("label", { for: id }, label), input) };
    });
    const submit = (event) => {
      event.preventDefault();
      for (const { plane, input } of inputs) tokens.set(plane, input.value);
      dialog.close();
    };
    const form = element(
      "form",
      { class: "form", submit },
      element("p", {}, isLocked ? "The emulator asks for its control token." : "What this page sends to the emulator."),
      element("p", { class: "dim" }, "The API token is needed only if the emulator does not take every one. This tab keeps both until it is closed."),
      ...inputs.map(({ row }) => row),
      element("div", { class: "buttons" }, element("button", { class: "primary" }, isLocked ? "Unlock" : "Use them")),
    );
    const dialog = openDialog(isLocked ? "Unlock the emulator" : "Tokens", { onClose: resolve }, form);
    inputs[0].input.focus();
  });
}

byId("connection").after(
  element("button", { type: "button", class: "quiet", click: () => askForTokens(false) }, "Tokens…"),
);
route();
follow({ onEvent: apply, onState: setState });
