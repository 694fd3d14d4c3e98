// Buttons that do something to the emulator, and the form that asks for what they need. Both show the call as code.

import { codeBlock, element, notify, openDialog, setText } from "./dom.js";
import { send } from "./emulator.js";
import { asCurl, asPython } from "./snippets.js";

/** Does it at once, and shows the call at the foot of the page. */
export async function run(action, values = {}) {
  const call = action.call(values);
  showCall(action, call);
  try {
    const response = await send(call);
    await action.done?.(response);
    notify(`Done: ${action.title.toLowerCase()}.`);
  } catch (problem) {
    notify(`${action.title}: ${problem.message}`, true);
  }
}

/** A button that does it at once. While it has the focus or the pointer, the foot of the page shows the call. */
export function quickButton(action, values = {}, label = action.button ?? action.title) {
  const preview = () => showCall(action, action.call(values));
  return element(
    "button",
    { type: "button", click: () => run(action, values), focus: preview, pointerenter: preview },
    label,
  );
}

/** A button that opens the form. `values` are those that are not asked for, `presets()` what the fields begin with. */
export function formButton(action, { values = {}, presets = () => ({}), label = action.title } = {}) {
  return element(
    "button",
    {
      type: "button",
      class: action.isDestructive ? "destructive" : null,
      click: () => openForm(action, values, presets()),
    },
    label,
  );
}

/** The form of an action. */
export function openForm(action, values = {}, presets = {}) {
  const curl = codeBlock("curl");
  const python = codeBlock("Python");
  const problem = element("p", { class: "problem", role: "alert" });
  const inputs = (action.fields ?? []).map((field) => makeInput(field, presets[field.name] ?? field.value));
  const read = () => ({
    ...values,
    ...Object.fromEntries(inputs.filter((input) => !input.row.hidden).map((input) => [input.name, input.read()])),
  });
  const update = () => {
    const everything = Object.fromEntries(inputs.map((input) => [input.name, input.read()]));
    for (const input of inputs) input.showFor(everything);
    const call = action.call(read());
    curl.set(asCurl(call));
    python.set(asPython(call));
  };
  const submit = async (event) => {
    event.preventDefault();
    const call = action.call(read());
    button.disabled = true;
    setText(problem, "");
    try {
      const response = await send(call);
      await action.done?.(response);
      showCall(action, call);
      dialog.close();
      notify(`Done: ${action.title.toLowerCase()}.`);
    } catch (error) {
      setText(problem, error.message);
    } finally {
      button.disabled = false;
    }
  };
  const button = element("button", { class: action.isDestructive ? "destructive" : "primary" }, action.title);
  const form = element(
    "form",
    { class: "form", submit, input: update },
    action.explanation ? element("p", {}, action.explanation) : null,
    ...inputs.map((input) => input.row),
    problem,
    element("div", { class: "buttons" }, button),
    element("h3", {}, "The same call as code"),
    curl.block,
    python.block,
  );
  const dialog = openDialog(action.title, {}, form);
  update();
  (inputs.find((input) => !input.row.hidden)?.control ?? button).focus();
  return dialog;
}

let count = 0;

function makeInput(field, preset) {
  const id = `field-${(count += 1)}`;
  const hint = field.hint ? element("small", { id: `${id}-hint` }, field.hint) : null;
  const shared = { id, required: field.required, "aria-describedby": hint?.id };
  const extras = [];
  let control;
  if (field.type === "select") {
    const options = typeof field.options === "function" ? field.options() : field.options;
    control = element(
      "select",
      shared,
      field.empty ? element("option", { value: "" }, field.empty) : null,
      ...options.map((option) => {
        const [value, label] = Array.isArray(option) ? option : [option, option];
        return element("option", { value }, label);
      }),
    );
  } else {
    const { type = "text", min, max, step, placeholder } = field;
    control = element("input", { ...shared, type, min, max, step, placeholder, autocomplete: "off", spellcheck: "false" });
    if (field.list) {
      control.setAttribute("list", `${id}-list`);
      const options = field.list().map((value) => element("option", { value }));
      extras.push(element("datalist", { id: `${id}-list` }, ...options));
    }
  }
  if (preset !== undefined && field.type !== "file") control.value = String(preset);
  const row = element("div", { class: "field" }, element("label", { for: id }, field.label), control, hint, ...extras);
  return {
    name: field.name,
    control,
    row,
    read: () => {
      if (field.type === "file") return control.files[0];
      if (control.value === "") return undefined;
      return field.type === "number" ? Number(control.value) : control.value;
    },
    showFor: (values) => {
      row.hidden = field.shown ? !field.shown(values) : false;
      control.disabled = row.hidden;
    },
  };
}

const foot = { curl: codeBlock("curl"), python: codeBlock("Python"), title: element("span"), short: element("code") };

/** Fills the foot of the page. */
export function showFoot(target) {
  target.append(
    element(
      "details",
      {},
      element("summary", {}, foot.title, " ", foot.short),
      element("div", { class: "codes" }, foot.curl.block, foot.python.block),
    ),
  );
  setText(foot.title, "The same call as code:");
  setText(foot.short, "point at a button");
}

function showCall(action, call) {
  setText(foot.title, `${action.title} as code:`);
  setText(foot.short, call.python.code);
  foot.curl.set(asCurl(call));
  foot.python.set(asPython(call));
}
