// The prebuilds on a timeline, and one of them with its log.

import * as actions from "./actions.js";
import { formButton } from "./action_dialog.js";
import { element, openDialog, setAttribute, setText } from "./dom.js";
import { read } from "./emulator.js";
import { MAX_PREBUILDS, model, prebuilds, projectIds } from "./model.js";
import { ENDED, GROUPS, groupOf, phaseAt, stepAt, stretches } from "./phases.js";
import * as time from "./time.js";
import { VirtualList } from "./virtual_list.js";

const SPANS = [
  [600, "10 min"],
  [1800, "30 min"],
  [7200, "2 h"],
  [43200, "12 h"],
  [604800, "7 d"],
];
const NOW_AT = 0.75; // where the present is on the timeline
const LOG_INTERVAL = 400;
const short = (id) => id.slice(0, 8);

/** Fills the view. Returns what draws it again. */
export function prebuildsView(target) {
  let group = "All";
  let span = SPANS[0][0];

  const search = element("input", {
    type: "search",
    class: "search",
    placeholder: "Search ids, projects, phases, messages",
    "aria-label": "Search prebuilds",
    input: () => draw(),
  });
  const chips = new Map(
    ["All", ...Object.keys(GROUPS)].map((name) => {
      const count = element("span", { class: "count" });
      const choose = () => {
        group = name;
        draw();
      };
      const chip = element("button", { type: "button", class: "chip", click: choose }, `${name} `, count);
      return [name, { chip, count }];
    }),
  );
  const spans = element(
    "select",
    { "aria-label": "Span of the timeline", change: (event) => ((span = Number(event.target.value)), draw()) },
    ...SPANS.map(([seconds, label]) => element("option", { value: seconds }, label)),
  );
  const axis = element("div", { class: "axis", "aria-hidden": "true" });
  const list = new VirtualList({
    label: "Prebuilds, newest first",
    makeRow: () => prebuildRow(() => span),
    keyOf: (prebuild) => prebuild.id,
    nameOf: (prebuild) =>
      `Prebuild ${short(prebuild.id)}, ${phaseAt(prebuild, time.now())}, project ${short(prebuild.project)}`,
    onOpen: (prebuild) => openPrebuild(prebuild.id),
    rowHeight: () => (matchMedia("(max-width: 700px)").matches ? 58 : 34),
    emptyText: "No prebuilds here. Create one with the button above, or point a client at this address.",
  });
  target.append(
    element(
      "div",
      { class: "bar" },
      formButton(actions.createPrebuild, { label: "Create a prebuild…", presets: () => ({ project_id: projectIds()[0] ?? crypto.randomUUID?.() }) }),
      search,
      element("div", { class: "chips", role: "group", "aria-label": "Phases" }, ...[...chips.values()].map(({ chip }) => chip)),
      spans,
    ),
    element("div", { class: "prebuild-row head", "aria-hidden": "true" },
      element("span", {}, "Phase"), element("span", {}, "Prebuild"), element("span", {}, "Project"), axis, element("span", {}, "Age")),
    list.element,
  );

  function draw() {
    const now = time.now();
    const all = prebuilds();
    const counts = { All: all.length };
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = [];
    for (const prebuild of all) {
      const step = stepAt(prebuild, now);
      const own = groupOf(step[1]);
      counts[own] = (counts[own] ?? 0) + 1;
      if (group !== "All" && own !== group) continue;
      if (words.length && !matches(prebuild, step, words)) continue;
      shown.push(prebuild);
    }
    for (const [name, { chip, count }] of chips) {
      setText(count, `${counts[name] ?? 0}${all.length >= MAX_PREBUILDS ? "+" : ""}`);
      setAttribute(chip, "aria-pressed", name === group);
    }
    drawAxis(axis, now, span);
    list.show(shown);
  }
  return { draw, search };
}

function matches(prebuild, step, words) {
  const text = `${prebuild.id} ${prebuild.project} ${prebuild.class} ${step[1]} ${step[3] ?? ""} ${prebuild.trigger}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

const TICKS = [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800, 21600, 43200, 86400, 172800];

function drawAxis(axis, now, span) {
  const begin = now - span * 1000 * NOW_AT;
  const room = Math.max(1, Math.floor(axis.clientWidth / 70)); // how many times fit next to each other
  const step = (TICKS.find((seconds) => span / seconds <= Math.min(room, 8)) ?? span) * 1000;
  const first = Math.ceil(begin / step) * step;
  const marks = [];
  for (let at = first; at < begin + span * 1000; at += step) marks.push(at);
  while (axis.children.length < marks.length + 1) axis.append(element("span", { class: "tick" }));
  for (const [at, mark] of [...axis.children].entries()) {
    const isNow = at === marks.length;
    mark.hidden = at > marks.length;
    mark.className = isNow ? "tick now" : "tick";
    const place = isNow ? NOW_AT : (marks[at] - begin) / (span * 1000);
    mark.style.left = `${place * 100}%`;
    const text = step >= 86400000 ? time.moment(marks[at] ?? now).slice(5, 10) : time.timeOfDay(marks[at] ?? now);
    setText(mark, isNow ? "" : step >= 60000 ? text.slice(0, 5) : text);
  }
}

function prebuildRow(spanOf) {
  const badge = element("span", { class: "phase" });
  const id = element("span", { class: "mono" });
  const project = element("span", { class: "mono dim project" });
  const track = element("span", { class: "track", "aria-hidden": "true" });
  const age = element("span", { class: "dim age" });
  const row = element("div", { class: "prebuild-row row" }, badge, id, project, track, age);
  track.append(element("span", { class: "now-line" }));
  const pieces = [];
  const update = (prebuild) => {
    const now = time.now();
    const phase = phaseAt(prebuild, now);
    setText(badge, phase);
    setAttribute(badge, "data-phase", phase);
    setText(id, short(prebuild.id));
    setAttribute(id, "title", prebuild.id);
    setText(project, short(prebuild.project));
    setAttribute(project, "title", prebuild.project);
    setText(age, time.duration((now - prebuild.created) / 1000));
    const width = spanOf() * 1000;
    const begin = now - width * NOW_AT;
    const parts = stretches(prebuild).filter((part) => part.end > begin && part.begin < begin + width);
    while (pieces.length < parts.length) {
      const piece = element("span", { class: "piece" });
      pieces.push(piece);
      track.append(piece);
    }
    for (const [at, piece] of pieces.entries()) {
      const part = parts[at];
      piece.hidden = !part;
      if (!part) continue;
      const left = Math.max(0, (part.begin - begin) / width);
      const right = Math.min(1, (part.end - begin) / width);
      piece.style.left = `${left * 100}%`;
      piece.style.width = `${(right - left) * 100}%`;
      setAttribute(piece, "data-phase", part.phase);
      piece.className = `piece${ENDED.has(part.phase) ? " ended" : ""}${part.begin > now ? " planned" : ""}`;
    }
  };
  return { element: row, update };
}

/** Shows a prebuild at the side, with its log as it grows. */
export function openPrebuild(id) {
  const title = `Prebuild ${short(id)}`;
  const facts = element("dl", { class: "facts" });
  const steps = element("ol", { class: "steps" });
  const log = element("pre", { class: "log", role: "log", tabindex: "0", "aria-label": "Log" });
  const raw = element("pre", { class: "raw", tabindex: "0", "aria-label": "The message of the service" });
  const problem = element("p", { class: "problem", role: "alert" });
  let lines = 0;
  let isOpen = true;
  const values = { prebuild_id: id };
  openDialog(
    title,
    { onClose: () => (isOpen = false) },
    problem,
    element("div", { class: "buttons" },
      formButton(actions.cancelPrebuild, { values, label: "Cancel…" }),
      formButton(actions.deletePrebuild, { values, label: "Delete…" })),
    facts,
    element("h3", {}, "Phases"),
    steps,
    element("h3", {}, "Log"),
    log,
    element("details", {}, element("summary", {}, "The message of the service"), raw),
  );

  const drawSteps = () => {
    const prebuild = model.prebuilds.get(id);
    if (!prebuild) return;
    const now = time.now();
    steps.replaceChildren(
      ...stretches(prebuild).map(({ phase, begin, end }) =>
        element(
          "li",
          { class: begin > now ? "planned" : null },
          element("span", { class: "phase", "data-phase": phase }, phase),
          element("span", {}, element("span", { class: "mono" }, time.moment(begin)), " ",
            element("span", { class: "dim" }, begin > now ? "planned" : end === Infinity ? "" : `for ${time.duration((Math.min(end, now) - begin) / 1000)}`)),
        ),
      ),
    );
  };

  const look = async () => {
    if (!isOpen) return;
    try {
      const found = await read(`prebuilds/${encodeURIComponent(id)}?from=${lines}`);
      if (found.lines.length) {
        const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
        log.append(found.lines.map((line) => `${line}\n`).join(""));
        lines += found.lines.length;
        if (isAtEnd) log.scrollTop = log.scrollHeight;
      }
      drawFacts(facts, found.prebuild);
      setText(raw, JSON.stringify(found.prebuild, null, 2));
      setText(problem, "");
    } catch (error) {
      setText(problem, error.message);
    }
    drawSteps();
    setTimeout(look, LOG_INTERVAL);
  };
  look();
}

function drawFacts(facts, { id, metadata, spec, status }) {
  const rows = [
    ["Id", id],
    ["Phase", (status.phase ?? "").replace("PREBUILD_PHASE_", "")],
    ["Desired phase", (spec.desiredPhase ?? "").replace("PREBUILD_PHASE_", "")],
    ["Failure", status.failureMessage],
    ["Warning", status.warningMessage],
    ["Project", metadata.projectId],
    ["Environment class", metadata.environmentClassId],
    ["Trigger", (metadata.triggeredBy ?? "").replace("PREBUILD_TRIGGER_", "")],
    ["Timeout", spec.timeout],
    ["Snapshot", status.snapshotCompletionPercentage ? `${status.snapshotCompletionPercentage} %` : bytes(status.snapshotSizeBytes)],
    ["Log", status.logUrl],
  ].filter(([, value]) => value);
  const text = rows.flat().join("\n");
  if (facts.dataset.text === text) return;
  facts.dataset.text = text;
  facts.replaceChildren(...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

const bytes = (size) => (size ? `${(Number(size) / 2 ** 30).toFixed(1)} GiB` : "");
