// The emulated time, and the buttons that move it.

import * as actions from "./actions.js";
import { formButton, quickButton, run } from "./action_dialog.js";
import { element, setAttribute, setText } from "./dom.js";
import * as time from "./time.js";

const STEPS = [
  [60, "+1 min"],
  [3600, "+1 h"],
  [86400, "+1 d"],
];
const SPEEDS = [1, 10, 60, 600, 3600];

/** Fills the bar. Returns what draws it again. */
export function clockBar(target) {
  const reading = element("time", { class: "mono", title: "emulated time in UTC" });
  const state = element("span", { class: "dim state" });
  const freeze = quickButton(actions.freeze);
  const resume = quickButton(actions.resume);
  const speed = element(
    "select",
    { "aria-label": "Speed", change: () => run(actions.resume, { speed: Number(speed.value) }) },
    ...SPEEDS.map((value) => element("option", { value }, `${value}×`)),
  );
  const other = element("option", {});
  target.append(
    reading,
    state,
    freeze,
    resume,
    speed,
    ...STEPS.map(([seconds, label]) => quickButton(actions.advance, { seconds }, label)),
    formButton(actions.advance, { label: "Advance…" }),
    formButton(actions.moveTo, { label: "Move to…", presets: () => ({ now: new Date(time.now() + 3600000).toISOString().slice(0, 19) }) }),
    formButton(actions.resume, { label: "Speed…", presets: () => ({ speed: time.clock().speed }) }),
    formButton(actions.reset, { label: "Reset…" }),
  );
  const draw = () => {
    const { frozen, speed: current } = time.clock();
    setText(reading, time.moment(time.now()));
    setAttribute(reading, "datetime", new Date(Math.floor(time.now())).toISOString());
    setText(state, frozen ? "frozen" : `${current}×`);
    if (freeze.hidden !== frozen || resume.hidden === frozen) {
      // The button that is pressed is replaced by the other one, which then has the focus.
      const hadFocus = [freeze, resume].includes(document.activeElement);
      freeze.hidden = frozen;
      resume.hidden = !frozen;
      if (hadFocus) (frozen ? resume : freeze).focus();
    }
    if (document.activeElement !== speed) {
      if (!SPEEDS.includes(current)) {
        other.value = String(current);
        other.textContent = `${current}×`;
        if (!other.parentNode) speed.append(other);
      }
      speed.value = String(current);
    }
  };
  return { draw };
}
