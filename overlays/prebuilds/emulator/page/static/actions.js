// Everything that can be done to the emulator. An action has a title, fields, and the call that its values make.

import { model, projectIds } from "./model.js";
import { Source, pythonCall } from "./snippets.js";

const PHASES = ["PENDING", "STARTING", "RUNNING", "STOPPING", "SNAPSHOTTING", "CANCELLING"];
const CODES = [
  "aborted", "already_exists", "canceled", "data_loss", "deadline_exceeded", "failed_precondition", "internal",
  "invalid_argument", "not_found", "out_of_range", "permission_denied", "resource_exhausted", "unauthenticated",
  "unavailable", "unimplemented", "unknown",
];

const control = (method, path, python, more = {}) => ({
  plane: "control plane",
  method,
  path: `/_emulator${path}`,
  python,
  ...more,
});

const service = (method, body, python) => ({
  plane: "service",
  method: "POST",
  path: `${model.service}/${method}`,
  body,
  python,
});

const segment = encodeURIComponent;

/** The fields that have a value. */
function given(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== ""));
}

const words = (text) => (text ?? "").split(/[\s,]+/).filter(Boolean);

const project = (more = {}) => ({
  name: "project_id",
  label: "Project",
  list: projectIds,
  placeholder: "an id: a UUID",
  ...more,
});
const number = (name, label, more = {}) => ({ name, label, type: "number", ...more });
const select = (name, label, options, more = {}) => ({ name, label, type: "select", options, ...more });
const text = (name, label, more = {}) => ({ name, label, ...more });
const times = (label) => number("times", label, { min: 1, max: 1000000, step: 1, placeholder: "1" });

// -- Time

export const freeze = {
  title: "Freeze the time",
  button: "Freeze",
  call: () => control("POST", "/clock/freeze", pythonCall("control.freeze")),
};

export const resume = {
  title: "Let the time run",
  button: "Run",
  fields: [number("speed", "Speed", { min: 0.001, max: 1000000, step: "any", hint: "emulated seconds in a real one; empty for the latest one" })],
  call: ({ speed }) =>
    control("POST", "/clock/resume", pythonCall("control.resume", speed === undefined ? [] : [speed]), {
      body: given({ speed }),
    }),
};

export const advance = {
  title: "Advance the time",
  button: "Advance",
  fields: [number("seconds", "Seconds", { min: 0, step: "any", required: true, value: 60, hint: "emulated ones" })],
  call: ({ seconds }) =>
    control("POST", "/clock/advance", pythonCall("control.advance", [seconds]), { body: { seconds } }),
};

export const moveTo = {
  title: "Move the time to a moment",
  button: "Move to…",
  fields: [text("now", "Moment (UTC)", { type: "datetime-local", step: 1, required: true })],
  call: ({ now }) => {
    const iso = `${(now ?? "").length === 16 ? `${now}:00` : (now ?? "")}+00:00`;
    const python = pythonCall("control.move_to", [
      new Source(pythonCall("datetime.fromisoformat", [iso]).code, "datetime.datetime"),
    ]);
    return control("POST", "/clock/move", python, { body: { now: iso } });
  },
};

// -- Prebuilds

export const createPrebuild = {
  title: "Create a prebuild",
  fields: [
    project({ required: true }),
    text("environment_class_id", "Environment class", { hint: "empty for the project's own" }),
    number("timeout", "Timeout", { min: 300, max: 7200, step: 1, hint: "seconds, from 300 to 7200" }),
  ],
  call: ({ project_id, environment_class_id, timeout }) => {
    const spec = timeout === undefined ? {} : { timeout: `${timeout}s` };
    return service(
      "CreatePrebuild",
      { ...given({ projectId: project_id, environmentClassId: environment_class_id }), spec },
      pythonCall("client.prebuilds.create", [], { ...given({ project_id, environment_class_id }), spec }),
    );
  },
};

const ofPrebuild = (title, method, python) => ({
  title,
  call: ({ prebuild_id }) =>
    service(method, { prebuildId: prebuild_id }, pythonCall(`client.prebuilds.${python}`, [], { prebuild_id })),
});

export const cancelPrebuild = ofPrebuild("Cancel the prebuild", "CancelPrebuild", "cancel");
export const deletePrebuild = { ...ofPrebuild("Delete the prebuild", "DeletePrebuild", "delete"), isDestructive: true };

// -- Warm pools

const size = (name, label) => number(name, label, { min: 0, max: 20, step: 1 });

export const createPool = {
  title: "Create a warm pool",
  fields: [
    project({ required: true }),
    text("environment_class_id", "Environment class", { required: true, list: () => classIds() }),
    size("min_size", "Minimum size"),
    { ...size("max_size", "Maximum size"), min: 1 },
  ],
  call: ({ project_id, environment_class_id, min_size, max_size }) =>
    service(
      "CreateWarmPool",
      given({ projectId: project_id, environmentClassId: environment_class_id, minSize: min_size, maxSize: max_size }),
      pythonCall("client.prebuilds.create_warm_pool", [], { project_id, environment_class_id, min_size, max_size }),
    ),
};

function classIds() {
  const found = new Set(model.pools.map((pool) => pool.metadata.environmentClassId));
  for (const prebuild of model.prebuilds.values()) {
    if (found.size > 100) break;
    found.add(prebuild.class);
  }
  return [...found];
}

export const resizePool = {
  title: "Resize the warm pool",
  fields: [size("min_size", "Minimum size"), { ...size("max_size", "Maximum size"), min: 1 }],
  call: ({ warm_pool_id, min_size, max_size }) =>
    service(
      "UpdateWarmPool",
      given({ warmPoolId: warm_pool_id, minSize: min_size, maxSize: max_size }),
      pythonCall("client.prebuilds.update_warm_pool", [], { warm_pool_id, min_size, max_size }),
    ),
};

export const deletePool = {
  title: "Delete the warm pool",
  isDestructive: true,
  call: ({ warm_pool_id }) =>
    service(
      "DeleteWarmPool",
      { warmPoolId: warm_pool_id },
      pythonCall("client.prebuilds.delete_warm_pool", [], { warm_pool_id }),
    ),
};

export const degradePool = {
  title: "Degrade the warm pool",
  fields: [text("message", "Failure message", { required: true, value: "no capacity" })],
  call: ({ warm_pool_id, message }) =>
    control(
      "POST",
      `/warm-pools/${segment(warm_pool_id)}/degrade`,
      pythonCall("control.degrade_warm_pool", [warm_pool_id, message ?? ""]),
      { body: { message: message ?? "" } },
    ),
};

export const recoverPool = {
  title: "Let the warm pool recover",
  call: ({ warm_pool_id }) =>
    control(
      "POST",
      `/warm-pools/${segment(warm_pool_id)}/recover`,
      pythonCall("control.recover_warm_pool", [warm_pool_id]),
    ),
};

// -- Outcomes

const outcomeFields = [
  select("fails_in", "Fails in", PHASES, { empty: "does not fail" }),
  text("message", "Failure message", { hint: "for one that fails" }),
  text("warning", "Warning", { hint: "with which it completes" }),
  select("stalls_in", "Stalls in", PHASES, { empty: "does not stall" }),
  number("takes", "Takes", { min: 0, step: "any", hint: "emulated seconds in all" }),
];

const outcomeOf = ({ fails_in, message, warning, stalls_in, takes }) =>
  given({ fails_in, message, warning, stalls_in, takes });

const outcomeSource = (outcome) =>
  new Source(pythonCall("Outcome", [], outcome).code, "prebuilds.emulator.Outcome");

export const planOutcome = {
  title: "Plan an outcome",
  fields: [...outcomeFields, project({ hint: "empty for any project" }), times("For how many prebuilds")],
  call: ({ project_id, times, ...values }) => {
    const outcome = outcomeOf(values);
    const more = given({ project_id, times });
    return control("POST", "/outcomes", pythonCall("control.plan_outcome", [outcomeSource(outcome)], more), {
      body: { outcome, ...more },
    });
  },
};

export const forgetOutcomes = {
  title: "Forget the planned outcomes",
  call: () => control("DELETE", "/outcomes", pythonCall("control.forget_outcomes")),
};

// -- Faults

const WHEN = select("when", "When", ["before", "after"], { empty: "before the work (the default)" });
const FAULTS = {
  error: { python: "ErrorFault", fields: ["code", "message", "retry_after", "hint", "when"] },
  status: { python: "StatusFault", fields: ["status", "body", "when"] },
  html: { python: "HtmlFault", fields: ["status", "when"] },
  drop: { python: "DropFault", fields: ["when"] },
  latency: { python: "LatencyFault", fields: ["seconds"] },
  truncate: { python: "TruncateFault", fields: ["keep"] },
  slow: { python: "SlowFault", fields: ["chunks", "pause"] },
  repeat_token: { python: "RepeatTokenFault", fields: [] },
};
const KINDS = [
  ["error", "a Connect error"],
  ["status", "an HTTP status"],
  ["html", "a page of HTML"],
  ["drop", "a dropped connection"],
  ["latency", "a late response"],
  ["truncate", "a truncated body"],
  ["slow", "a slow body"],
  ["repeat_token", "a repeated page token"],
];
const onlyFor = (field) => ({
  ...field,
  shown: ({ kind }) => FAULTS[kind].fields.includes(field.name),
});

export const planFault = {
  title: "Plan a fault",
  fields: [
    select("kind", "Fault", KINDS, { value: "error" }),
    select("method", "Method", () => [...model.methods, "logs"], { empty: "any method" }),
    onlyFor(select("code", "Code", CODES, { value: "unavailable" })),
    onlyFor(text("message", "Message")),
    onlyFor(number("retry_after", "Retry after", { min: 0, max: 86400, step: "any", hint: "seconds" })),
    onlyFor(select("hint", "Hint in", ["retry_info", "rate_limit", "retry_after"], { empty: "a RetryInfo detail (the default)" })),
    onlyFor(number("status", "HTTP status", { min: 200, max: 599, step: 1, value: 503, required: true })),
    onlyFor(text("body", "Body")),
    onlyFor(number("seconds", "Real seconds", { min: 0.001, max: 600, step: "any", value: 5, required: true })),
    onlyFor(number("keep", "Bytes to keep", { min: 0, step: 1, hint: "empty for half of them" })),
    onlyFor(number("chunks", "Chunks", { min: 2, max: 1000, step: 1 })),
    onlyFor(number("pause", "Pause", { min: 0.001, max: 60, step: "any", hint: "real seconds before each chunk" })),
    onlyFor(WHEN),
    times("How many calls meet it"),
    number("after", "Calls to let through first", { min: 0, step: 1, placeholder: "0" }),
  ],
  call: ({ kind, method, times, after, code, ...values }) => {
    const { python, fields } = FAULTS[kind ?? "error"];
    const own = Object.fromEntries(Object.entries(values).filter(([name]) => fields.includes(name)));
    const shared = given({ method, times, after, ...own });
    const coded = fields.includes("code") ? { code } : {};
    const source = pythonCall(python, [], {
      ...shared,
      ...(coded.code ? { code: new Source(`ConnectCode.${coded.code.toUpperCase()}`) } : {}),
    });
    const imports = [`prebuilds.emulator.${python}`, ...(coded.code ? ["prebuilds.emulator.ConnectCode"] : [])];
    return control("POST", "/faults", pythonCall("control.plan_fault", [new Source(source.code, ...imports)]), {
      body: { kind: kind ?? "error", ...coded, ...shared },
    });
  },
};

export const removeFault = {
  title: "Remove the fault",
  call: ({ fault_id }) => control("DELETE", `/faults/${fault_id}`, pythonCall("control.remove_fault", [fault_id])),
};

export const removeFaults = {
  title: "Remove all faults",
  call: () => control("DELETE", "/faults", pythonCall("control.remove_faults")),
};

// -- Projects

export const declareProject = {
  title: "Declare a project",
  fields: [
    project({ required: true }),
    text("environment_class_ids", "Prebuild classes", { hint: "ids; empty for any class" }),
    number("daily_at_hour", "Daily at", { min: 0, max: 23, step: 1, hint: "an hour in UTC; empty for no schedule" }),
    ...outcomeFields,
  ],
  call: ({ project_id, environment_class_ids, daily_at_hour, ...values }) => {
    const classes = words(environment_class_ids);
    const configuration = {
      ...(classes.length ? { environment_class_ids: classes } : {}),
      ...given({ daily_at_hour }),
    };
    const outcome = outcomeOf(values);
    const hasOutcome = Object.keys(outcome).length > 0;
    return control(
      "PUT",
      `/projects/${segment(project_id ?? "")}`,
      pythonCall("control.declare_project", [project_id ?? ""], {
        ...configuration,
        outcome: hasOutcome ? outcomeSource(outcome) : undefined,
      }),
      { body: { prebuilds: configuration, ...(hasOutcome ? { outcome } : {}) } },
    );
  },
};

export const disablePrebuilds = {
  title: "Disable the project's prebuilds",
  call: ({ project_id }) =>
    control("PUT", `/projects/${segment(project_id)}`, pythonCall("control.disable_prebuilds", [project_id]), {
      body: { prebuilds: null },
    }),
};

export const withdrawProject = {
  title: "Withdraw the project",
  call: ({ project_id }) =>
    control("DELETE", `/projects/${segment(project_id)}`, pythonCall("control.withdraw_project", [project_id])),
};

// -- How long things take

const PLAN = [
  ["pending", "PENDING"],
  ["starting", "STARTING"],
  ["running", "RUNNING"],
  ["stopping", "STOPPING"],
  ["snapshotting", "SNAPSHOTTING"],
  ["cancelling", "CANCELLING"],
  ["deleting", "DELETING"],
  ["draining", "A warm pool drains"],
  ["tombstone", "DELETED can be seen"],
  ["expiry", "A snapshot is kept"],
];

export const PLAN_LABELS = PLAN;

export const putPlan = {
  title: "Change how long things take",
  fields: PLAN.map(([name, label]) => number(name, label, { min: 0, step: "any", hint: "emulated seconds" })),
  call: (values) => {
    const plan = given({ ...values, snapshot_size_bytes: model.plan.snapshot_size_bytes });
    const source = new Source(pythonCall("Plan", [], plan).code, "prebuilds.emulator.Plan");
    return control("PUT", "/plan", pythonCall("control.put_plan", [source]), { body: plan });
  },
};

// -- Everything

export const reset = {
  title: "Reset the emulator",
  button: "Reset…",
  isDestructive: true,
  explanation: "Removes all prebuilds and warm pools. Projects, outcomes, faults and the time are as at the start.",
  call: () => control("POST", "/reset", pythonCall("control.reset")),
};

const STATE_FILE = "emulator-state.json";

export const saveState = {
  title: "Save the state to a file",
  call: () =>
    control(
      "GET",
      "/state",
      new Source(
        `Path("${STATE_FILE}").write_text(json.dumps(control.dump_state()))`,
        "json.*",
        "pathlib.Path",
      ),
      { file: STATE_FILE },
    ),
  done: async (response) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = STATE_FILE;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  },
};

export const loadState = {
  title: "Load the state from a file",
  isDestructive: true,
  explanation: "Replaces everything with the state in the file.",
  fields: [{ name: "content", label: "File", type: "file", required: true }],
  call: ({ content }) => {
    const name = content?.name ?? STATE_FILE;
    const python = new Source(
      pythonCall("control.load_state", [
        new Source(`json.loads(${pythonCall("Path", [name]).code}.read_text())`),
      ]).code,
      "json.*",
      "pathlib.Path",
    );
    return control("PUT", "/state", python, { file: name, content });
  },
};

export const forgetRequests = {
  title: "Forget the requests",
  button: "Clear",
  call: () => control("DELETE", "/requests", pythonCall("control.forget_requests")),
};
