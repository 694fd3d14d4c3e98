// Elements of the page. Text from the emulator is data: it is only ever set as text.

/**
 * Makes an element.
 * A property that is a function listens to the event of its name, true is an attribute without a value, and false,
 * null and undefined are no attribute.
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Sets the text of an element if it differs: what is unchanged is not laid out again, and stays selected. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Sets or removes an attribute. */
export function setAttribute(target, name, value) {
  if (value === null) target.removeAttribute(name);
  else if (target.getAttribute(name) !== String(value)) target.setAttribute(name, String(value));
}

/** Shows a message for a moment, and reads it out. */
export function notify(text, isProblem = false) {
  const notice = document.getElementById("notice");
  notice.textContent = text;
  notice.className = isProblem ? "shown problem" : "shown";
  clearTimeout(notify.timer);
  notify.timer = setTimeout(() => (notice.className = ""), isProblem ? 8000 : 3000);
}

/** A dialog at the side of the page that Escape closes. It is removed when it closes. */
export function openDialog(title, { onClose = () => {} } = {}, ...children) {
  const heading = element("h2", {}, title);
  const dialog = element(
    "dialog",
    {
      class: "drawer",
      "aria-label": title,
      close: () => {
        onClose();
        dialog.remove();
      },
      // A click beside it closes it, too.
      click: (event) => event.target === dialog && dialog.close(),
    },
    element(
      "div",
      { class: "drawer-body" },
      element(
        "div",
        { class: "drawer-head" },
        heading,
        element("button", { type: "button", class: "quiet", "aria-label": "Close", click: () => dialog.close() }, "✕"),
      ),
      ...children,
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** A block of code with a button that copies it. */
export function codeBlock(label) {
  const code = element("code");
  const copy = element(
    "button",
    {
      type: "button",
      class: "quiet copy",
      "aria-label": `Copy the ${label} code`,
      click: async () => {
        try {
          await navigator.clipboard.writeText(code.textContent);
          notify("Copied.");
        } catch {
          // Browsers keep the clipboard from pages that come from another machine without TLS.
          notify("This browser does not let the page copy: select the code and copy it.", true);
        }
      },
    },
    "Copy",
  );
  const block = element(
    "figure",
    { class: "code" },
    element("figcaption", {}, label, copy),
    element("pre", { tabindex: "0", "aria-label": `${label} code`, "data-language": label }, code),
  );
  return { block, set: (text) => setText(code, text) };
}
