// The phases of prebuilds: which one a prebuild has at a time, and in which groups a person thinks of them.

export const GROUPS = {
  Active: ["PENDING", "STARTING", "RUNNING", "STOPPING", "SNAPSHOTTING", "CANCELLING"],
  Completed: ["COMPLETED"],
  Failed: ["FAILED"],
  Cancelled: ["CANCELLED"],
  Deleted: ["DELETING", "DELETED"],
};

export const ENDED = new Set(["COMPLETED", "FAILED", "CANCELLED", "DELETED"]);

const GROUP_OF = new Map(Object.entries(GROUPS).flatMap(([group, phases]) => phases.map((phase) => [phase, group])));

/** The group of a phase; a phase that this page does not know counts as active. */
export function groupOf(phase) {
  return GROUP_OF.get(phase) ?? "Active";
}

/** The step that a prebuild has taken last at a time: `[due, phase, percentage, message]`. Its phase is null once gone. */
export function stepAt(prebuild, time) {
  const steps = prebuild.steps;
  let at = 0;
  while (at + 1 < steps.length && steps[at + 1][0] <= time) at += 1;
  return steps[at];
}

/** The phase that a prebuild has at a time; null once it is gone. */
export function phaseAt(prebuild, time) {
  return stepAt(prebuild, time)[1];
}

/** The stretches of a prebuild's life in which it has one phase: `{phase, begin, end}`, the last one without an end. */
export function stretches(prebuild) {
  const found = [];
  for (const [due, phase] of prebuild.steps) {
    const last = found.at(-1);
    if (last && last.phase === phase) continue;
    if (last) last.end = due;
    found.push({ phase, begin: due, end: Infinity });
  }
  return found.filter((stretch) => stretch.phase !== null);
}
