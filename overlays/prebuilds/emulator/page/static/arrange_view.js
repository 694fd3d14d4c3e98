// What is arranged: outcomes, faults, projects, how long things take, and the state as a whole.

import * as actions from "./actions.js";
import { formButton } from "./action_dialog.js";
import { element } from "./dom.js";
import { model } from "./model.js";
import * as time from "./time.js";

const MAX_SHOWN = 200;

/** Fills the view. Returns what draws it again. */
export function arrangeView(target) {
  const parts = [
    part("Outcomes", "What comes of the next prebuilds. The first that fits is used up.", "No outcome is planned: the next prebuild completes.", () => model.outcomes, outcome,
      formButton(actions.planOutcome, { label: "Plan an outcome…" }),
      formButton(actions.forgetOutcomes, { label: "Forget all…" })),
    part("Faults", "What goes wrong between a client and the service.", "No fault is planned.", () => model.faults, fault,
      formButton(actions.planFault, { label: "Plan a fault…" }),
      formButton(actions.removeFaults, { label: "Remove all…" })),
    part("Projects", "Projects that are declared. Any other id is a project, too, unless the emulator is strict.", "No project is declared.", () => model.projects, project,
      formButton(actions.declareProject, { label: "Declare a project…" })),
    part("Durations", "How long things take, in emulated time. Changes count for what begins from now on.", "", planRows, duration,
      formButton(actions.putPlan, { label: "Change…", presets: () => model.plan })),
    part("State", "Everything but faults and requests, as a file.", "", () => [], () => "",
      formButton(actions.saveState, { label: "Save…" }),
      formButton(actions.loadState, { label: "Load…" }),
      formButton(actions.reset, { label: "Reset…" })),
  ];
  target.append(element("div", { class: "panels" }, ...parts.map(({ panel }) => panel)));
  return { draw: () => parts.forEach(({ draw }) => draw()) };
}

function part(title, explanation, emptyText, items, row, ...buttons) {
  const list = element("ul", { class: "rows" });
  const empty = element("p", { class: "dim" }, emptyText);
  const panel = element("section", { class: "panel", "aria-label": title },
    element("h2", {}, title), element("p", { class: "dim" }, explanation),
    element("div", { class: "buttons" }, ...buttons), list, empty);
  let drawn = "";
  const draw = () => {
    const shown = items().slice(0, MAX_SHOWN);
    empty.hidden = shown.length > 0 || !emptyText;
    const text = JSON.stringify(shown);
    if (text === drawn) return;
    drawn = text;
    list.replaceChildren(...shown.map((item) => element("li", {}, ...[row(item)].flat())));
  };
  return { panel, draw };
}

function describe(outcome) {
  if (!outcome) return "completes";
  const said = [
    outcome.fails_in && `fails in ${outcome.fails_in}`,
    outcome.stalls_in && `stalls in ${outcome.stalls_in}`,
    outcome.takes !== null && outcome.takes !== undefined && `takes ${time.duration(outcome.takes)}`,
    outcome.warning && `warns “${outcome.warning}”`,
    outcome.message && `“${outcome.message}”`,
    ...Object.entries(outcome.durations ?? {}).map(([phase, seconds]) => `${phase} ${time.duration(seconds)}`),
  ].filter(Boolean);
  return said.join(", ") || "completes";
}

function outcome(planned) {
  const scope = planned.project_id ? `project ${planned.project_id.slice(0, 8)}` : "any project";
  return [
    element("strong", {}, describe(planned.outcome)),
    element("span", { class: "dim" }, `${scope}, ${planned.times === 1 ? "one prebuild" : `${planned.times} prebuilds`}`),
  ];
}

function fault({ id, fault: planned, consumed, pending }) {
  const { kind, method, times, after, ...rest } = planned;
  const details = Object.entries(rest)
    .filter(([, value]) => value !== null && value !== "" && JSON.stringify(value) !== "{}")
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`);
  const met = times === null ? `${consumed} calls, and every further one` : `${consumed} of ${times} ${times === 1 ? "call" : "calls"}`;
  return [
    element("strong", {}, `${kind} for ${method ?? "any method"}`),
    element("span", { class: "dim" }, [...details, after ? `after ${after}` : ""].filter(Boolean).join(", ")),
    element("span", { class: "consumed", "data-pending": String(pending) },
      `${pending ? "pending" : "consumed"}: met ${met}`),
    formButton(actions.removeFault, { values: { fault_id: id }, label: "Remove…" }),
  ];
}

function project({ id, prebuilds, outcome: own }) {
  const said = prebuilds
    ? [
        prebuilds.environment_class_ids.length ? `prebuild classes: ${prebuilds.environment_class_ids.length}` : "any class",
        prebuilds.daily_at_hour === null ? "" : `daily at ${String(prebuilds.daily_at_hour).padStart(2, "0")}:00 UTC`,
        own ? describe(own) : "",
      ]
    : ["prebuilds are disabled"];
  const values = { project_id: id };
  return [
    element("strong", { class: "mono" }, id),
    element("span", { class: "dim" }, said.filter(Boolean).join(", ")),
    formButton(actions.declareProject, { label: "Change…", presets: () => ({
      project_id: id,
      environment_class_ids: prebuilds?.environment_class_ids.join(" "),
      daily_at_hour: prebuilds?.daily_at_hour ?? undefined,
      ...Object.fromEntries(Object.entries(own ?? {}).filter(([, value]) => value !== null && value !== "")),
    }) }),
    prebuilds ? formButton(actions.disablePrebuilds, { values, label: "Disable…" }) : null,
    formButton(actions.withdrawProject, { values, label: "Withdraw…" }),
  ].filter(Boolean);
}

function planRows() {
  return actions.PLAN_LABELS.filter(([name]) => name in model.plan).map(([name, label]) => [label, model.plan[name]]);
}

function duration([label, seconds]) {
  return [element("span", {}, label), element("span", { class: "dim" }, time.duration(seconds))];
}
