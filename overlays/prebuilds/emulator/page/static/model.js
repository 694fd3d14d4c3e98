// What this page knows of the emulator, and who wants to hear when that changes.

import { phaseAt } from "./phases.js";
import * as time from "./time.js";

/** How many prebuilds are shown, the newest ones. */
export const MAX_PREBUILDS = 20000;
const MAX_REQUESTS = 1000;

/** All that is known. Views read it, and only `apply` changes it. */
export const model = {
  prebuilds: new Map(),
  requests: new Map(),
  pools: [],
  projects: [],
  outcomes: [],
  faults: [],
  plan: {},
  methods: [],
  service: "",
};

let order = null;
const listeners = [];
let isScheduled = false;

/** Calls back after changes, once a frame at most. */
export function onChange(callback) {
  listeners.push(callback);
}

/** Takes over an event of the stream. */
export function apply(name, data) {
  const handler = HANDLERS[name];
  if (handler) handler(data);
  else if (name in model) model[name] = data;
  schedule();
}

/** Calls everybody back soon. */
export function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    for (const callback of listeners) callback();
  });
}

/** The prebuilds that there are now, newest first. */
export function prebuilds() {
  if (order === null) {
    order = [...model.prebuilds.values()].sort((one, other) => other.seq - one.seq);
    for (const dropped of order.splice(MAX_PREBUILDS)) model.prebuilds.delete(dropped.id);
  }
  const now = time.now();
  return order.filter((prebuild) => phaseAt(prebuild, now) !== null);
}

/** The requests, newest first. */
export function requests() {
  return [...model.requests.values()].sort((one, other) => other.number - one.number);
}

/** The ids of the projects that are known from anywhere. */
export function projectIds() {
  const found = new Set(model.projects.map((project) => project.id));
  for (const pool of model.pools) found.add(pool.metadata.projectId);
  for (const prebuild of model.prebuilds.values()) {
    if (found.size > 100) break;
    found.add(prebuild.project);
  }
  return [...found];
}

const HANDLERS = {
  snapshot({ clock, requests: list, ...parts }) {
    time.setClock(clock);
    Object.assign(model, parts);
    model.prebuilds.clear();
    order = null;
    model.requests.clear();
    HANDLERS.requests(list);
  },
  prebuilds(rows) {
    for (const row of rows) model.prebuilds.set(row.id, row);
    order = null;
  },
  gone(ids) {
    for (const id of ids) model.prebuilds.delete(id);
    order = null;
  },
  requests(rows) {
    for (const row of rows) model.requests.set(row.number, row);
    const numbers = model.requests.keys();
    while (model.requests.size > MAX_REQUESTS) model.requests.delete(numbers.next().value);
  },
  forgotten() {
    model.requests.clear();
  },
  clock(clock) {
    time.setClock(clock);
  },
  ready() {},
};
