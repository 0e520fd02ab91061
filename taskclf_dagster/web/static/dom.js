/** Elements, made from values and text only: nothing that the server sends is ever read as HTML. */

const SVG = "http://www.w3.org/2000/svg";

/** Returns an element. Children are nodes, texts, or lists of them; null, undefined and false are left out. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Returns an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Returns a symbol of templates/icons.html. It is decoration: a text beside it says the same. */
export function icon(name) {
  return svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#icon-${name}` }));
}

const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell", TH: "columnheader" };

/** Returns a table that stays one for screen readers where small screens show its rows as blocks. */
export function table(caption, head, rows) {
  const made = el("table", { class: "stack" }, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows));
  for (const part of [made, ...made.querySelectorAll("thead, tbody, tr, td, th")]) {
    part.setAttribute("role", part.getAttribute("scope") === "row" ? "rowheader" : ROLES[part.tagName]);
  }
  return made;
}

/** Returns the element with an id of the template. */
export function byId(id) {
  return document.getElementById(id);
}

/** Returns a text of the server, with what stands between backticks as code. */
export function prose(text) {
  return String(text ?? "").split("`").map((part, position) => (position % 2 ? el("code", {}, part) : part));
}

/** Makes the children of an element equal to these, and keeps those that are there: focus, open parts and selected text survive. */
export function show(target, ...children) {
  const wanted = document.createElement("div");
  append(wanted, children);
  matchChildren(target, wanted);
}

/** Returns the pixels that a picture may be wide in a card. */
export function roomIn(card) {
  const { paddingLeft, paddingRight } = getComputedStyle(card);
  return Math.max(1, Math.floor(card.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight)));
}

/** Changes a text only if it differs, so that a screen reader does not read it again. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Makes a button usable, or not with the reason beside it. It stays in the tab order, so that the reason can be heard. */
export function allow(button, allowed, reason) {
  button.setAttribute("aria-disabled", String(!allowed));
  show(byId(button.getAttribute("aria-describedby")), allowed ? [] : prose(reason));
}

/** Returns true if a button may be used. */
export function isAllowed(button) {
  return button.getAttribute("aria-disabled") !== "true";
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  append(made, children);
  return made;
}

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    parent.append(child);
  }
}

function matchChildren(target, wanted) {
  const next = [...wanted.childNodes];
  const present = [...target.childNodes];
  next.forEach((node, position) => {
    const old = present[position];
    if (old === undefined) target.append(node);
    else if (isAlike(old, node)) match(old, node);
    else old.replaceWith(node);
  });
  for (const old of present.slice(next.length)) old.remove();
}

function isAlike(one, other) {
  if (one.nodeType !== other.nodeType || one.nodeName !== other.nodeName) return false;
  return one.nodeType !== Node.ELEMENT_NODE || one.getAttribute("data-key") === other.getAttribute("data-key");
}

function match(old, node) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== node.data) old.data = node.data;
    return;
  }
  const own = old.nodeName === "DETAILS" ? ["open"] : [];
  for (const { name } of [...old.attributes]) {
    if (!node.hasAttribute(name) && !own.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of node.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  matchChildren(old, node);
}
