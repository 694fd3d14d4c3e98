// The warm pools with their instances and snapshots.

import * as actions from "./actions.js";
import { formButton } from "./action_dialog.js";
import { element, setText } from "./dom.js";
import { model, projectIds } from "./model.js";
import { openPrebuild } from "./prebuilds_view.js";

const MAX_SHOWN = 100;

/** Fills the view. Returns what draws it again. */
export function poolsView(target) {
  const search = element("input", {
    type: "search",
    class: "search",
    placeholder: "Search ids, projects, phases",
    "aria-label": "Search warm pools",
    input: () => draw(),
  });
  const list = element("ul", { class: "cards" });
  const note = element("p", { class: "empty" });
  target.append(
    element("div", { class: "bar" },
      formButton(actions.createPool, { label: "Create a warm pool…", presets: () => ({ project_id: projectIds()[0] ?? "" }) }), search),
    list,
    note,
  );
  let drawn = "";

  function draw() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = model.pools.filter((pool) => {
      const text = `${pool.id} ${pool.metadata.projectId} ${pool.metadata.environmentClassId} ${pool.status.phase}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const shown = found.slice(0, MAX_SHOWN);
    // Cards are made again only when a pool has changed: a button that has the focus keeps it.
    const text = JSON.stringify(shown);
    if (text !== drawn) {
      drawn = text;
      const focused = document.activeElement?.closest?.("[data-pool]")?.dataset.pool;
      const at = focused ? [...document.activeElement.closest("[data-pool]").querySelectorAll("button")].indexOf(document.activeElement) : -1;
      list.replaceChildren(...shown.map(card));
      if (focused) list.querySelector(`[data-pool="${CSS.escape(focused)}"]`)?.querySelectorAll("button")[at]?.focus();
    }
    const rest = found.length - shown.length;
    note.hidden = rest === 0 && shown.length > 0;
    setText(note, rest ? `${rest} more: narrow the search.` : "No warm pools here. Create one with the button above.");
  }
  return { draw, search };
}

function card(pool) {
  const { spec, status, metadata } = pool;
  const phase = (status.phase ?? "").replace("WARM_POOL_PHASE_", "");
  const running = status.runningInstances ?? 0;
  const stopped = status.stoppedInstances ?? 0;
  const values = { warm_pool_id: pool.id };
  const instances = element(
    "div",
    { class: "instances", role: "img", "aria-label": `${running} running and ${stopped} stopped instances of at most ${spec.maxSize}` },
    ...Array.from({ length: spec.maxSize ?? 0 }, (_, at) =>
      element("span", { class: at < running ? "running" : at < running + stopped ? "stopped" : "absent" })),
  );
  const snapshot = spec.snapshotId
    ? element("button", { type: "button", class: "link mono", click: () => openPrebuild(spec.snapshotId), "aria-label": `Snapshot of prebuild ${spec.snapshotId}` }, spec.snapshotId.slice(0, 8))
    : element("span", { class: "dim" }, "none yet");
  return element(
    "li",
    { class: "card", "data-pool": pool.id },
    element("div", { class: "card-head" },
      element("h3", { title: pool.id }, `Pool ${pool.id.slice(0, 8)}`),
      element("span", { class: "phase", "data-phase": phase }, phase)),
    instances,
    element("dl", { class: "facts" },
      element("dt", {}, "Instances"), element("dd", {}, `${running} running, ${stopped} stopped`),
      element("dt", {}, "Size"), element("dd", {}, `${spec.minSize} to ${spec.maxSize}`),
      element("dt", {}, "Snapshot"), element("dd", {}, snapshot),
      element("dt", {}, "Project"), element("dd", { class: "mono", title: metadata.projectId }, metadata.projectId),
      element("dt", {}, "Class"), element("dd", { class: "mono", title: metadata.environmentClassId }, metadata.environmentClassId),
      ...(status.failureMessage ? [element("dt", {}, "Failure"), element("dd", { class: "problem" }, status.failureMessage)] : [])),
    element("div", { class: "buttons" },
      formButton(actions.resizePool, { values, label: "Resize…", presets: () => ({ min_size: spec.minSize, max_size: spec.maxSize }) }),
      phase === "DEGRADED"
        ? formButton(actions.recoverPool, { values, label: "Recover…" })
        : formButton(actions.degradePool, { values, label: "Degrade…" }),
      formButton(actions.deletePool, { values, label: "Delete…" })),
  );
}
