const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const count = (n) => Math.round(n).toLocaleString("en-US");
const signed = (n) => (n > 0 ? "+" : n < 0 ? "−" : "") + count(Math.abs(n));
const share = (x) => (100 * x).toFixed(x < 0.1 && x > 0 ? 1 : 0) + "%";
const ratio = (x) => (x < 100 ? x.toFixed(2) : x.toFixed(0)) + "x";
const kind = (name) => name.replace(/[0-9]+$/, "");
const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

function element(tag, text, attributes) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  return made;
}
function drawn(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
function fill(table, head, rows) {
  table.replaceChildren();
  const line = table.createTHead().insertRow();
  head.forEach((name) => line.append(element("th", name)));
  const body = table.createTBody();
  for (const row of rows) {
    const made = body.insertRow();
    for (const cell of row) {
      const place = made.insertCell();
      if (cell instanceof Node) place.append(cell); else place.textContent = cell;
    }
  }
  return body;
}
function tiles(place, values) {
  place.replaceChildren(...values.map(([value, text]) => {
    const tile = element("div");
    tile.append(element("b", value), element("span", text, {class: "dim"}));
    return tile;
  }));
}
function bar(parts, total) {
  const made = element("div", undefined, {class: "bar"});
  for (const [part, name] of parts) {
    if (!part) continue;
    made.append(element("i", undefined, {
      style: "width:" + 100 * part / total + "%;background:var(--" + name + ")"}));
  }
  return made;
}
function key(place, entries) {
  place.replaceChildren(...entries.map(([name, text]) => {
    const made = element("span");
    made.append(element("i", undefined, {style: "background:var(--" + name + ")"}), text);
    return made;
  }));
}
function diff(place, text) {
  place.replaceChildren(...text.split("\n").map((line) => {
    const how = {"+": "plus", "-": "minus", "@": "place"}[line[0]];
    return element("span", line || " ", how ? {class: how} : {});
  }));
}
// The whole run of a page: theme, keys and sizes. redraw: after each change of theme or size.
function controls(redraw, keys) {
  const theme = () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    redraw();
  };
  byId("theme").addEventListener("click", theme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("resize", redraw);
  document.addEventListener("keydown", (event) => {
    if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = {t: theme, ...keys}[event.key];
    if (action) { action(); event.preventDefault(); }
  });
}
