// A list of any length: only the rows that can be seen are elements.

import { element, setAttribute } from "./dom.js";

const SPARE = 4;

/**
 * The focus stays on the list itself, and the arrow keys move within it, as in a list box.
 * `makeRow()` returns `{element, update(item)}`; rows are used again for other items.
 */
export class VirtualList {
  constructor({ label, makeRow, keyOf, nameOf, onOpen, rowHeight, emptyText }) {
    Object.assign(this, { makeRow, keyOf, nameOf, onOpen, rowHeight });
    this.items = [];
    this.rows = [];
    this.current = null;
    this.id = `list-${(VirtualList.count = (VirtualList.count ?? 0) + 1)}`;
    this.space = element("div", { class: "space", role: "presentation" });
    this.empty = element("p", { class: "empty" }, emptyText);
    this.box = element(
      "div",
      { class: "list", role: "listbox", tabindex: "0", "aria-label": label, id: this.id },
      this.space,
    );
    this.element = element("div", { class: "list-frame" }, this.box, this.empty);
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    this.box.addEventListener("keydown", (event) => this.press(event));
    this.box.addEventListener("click", (event) => {
      const row = event.target.closest("[role=option]");
      if (row) this.open(Number(row.dataset.index));
    });
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  /** Shows these items. The one that was chosen stays so, wherever it is now. */
  show(items) {
    this.items = items;
    this.empty.hidden = items.length > 0;
    this.draw();
  }

  draw() {
    const height = this.rowHeight();
    this.space.style.height = `${this.items.length * height}px`;
    if (!this.box.clientHeight) return;
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - SPARE);
    const last = Math.min(this.items.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / height) + SPARE);
    const count = Math.max(0, last - first);
    while (this.rows.length < count) {
      const row = this.makeRow();
      row.element.setAttribute("role", "option");
      row.element.id = `${this.id}-row-${this.rows.length}`;
      this.rows.push(row);
      this.space.append(row.element);
    }
    let active = null;
    for (const [at, row] of this.rows.entries()) {
      const index = first + at;
      row.element.hidden = at >= count;
      if (at >= count) continue;
      const item = this.items[index];
      const isCurrent = this.keyOf(item) === this.current;
      row.element.dataset.index = String(index);
      row.element.style.transform = `translateY(${index * height}px)`;
      setAttribute(row.element, "aria-setsize", this.items.length);
      setAttribute(row.element, "aria-posinset", index + 1);
      setAttribute(row.element, "aria-selected", isCurrent);
      setAttribute(row.element, "aria-label", this.nameOf(item));
      if (isCurrent) active = row.element.id;
      row.update(item);
    }
    setAttribute(this.box, "aria-activedescendant", active);
  }

  press(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.rowHeight()) - 1);
    const at = this.items.findIndex((item) => this.keyOf(item) === this.current);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in moves && this.items.length) {
      const wanted = at < 0 && Math.abs(moves[event.key]) === 1 ? 0 : at + moves[event.key];
      this.choose(Math.min(this.items.length - 1, Math.max(0, wanted)));
    } else if ((event.key === "Enter" || event.key === " ") && at >= 0) {
      this.open(at);
    } else {
      return;
    }
    event.preventDefault();
  }

  choose(index) {
    const height = this.rowHeight();
    this.current = this.keyOf(this.items[index]);
    const top = index * height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + height > this.box.scrollTop + this.box.clientHeight) {
      this.box.scrollTop = top + height - this.box.clientHeight;
    }
    this.draw();
  }

  open(index) {
    this.choose(index);
    this.onOpen(this.items[index]);
  }
}
