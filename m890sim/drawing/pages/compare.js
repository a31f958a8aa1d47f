const sides = data.sides, view = new View();
let chosen = -1;  // row of the source
const timelines = sides.map((_, n) => new Timeline(byId("timeline-" + n), view, (line) => {
  const row = data.rows.findIndex((one) => one[n ? "after" : "before"] === line);
  if (row >= 0) choose(row, true);
}));

function rows() {
  const place = byId("source"), largest = Math.max(1, ...data.rows.map((one) => Math.abs(one.gained)));
  place.replaceChildren(...data.rows.map((one, number) => {
    const row = element("div", undefined, {class: "pair " + one.how, id: "row-" + number});
    const gain = element("span", one.gained ? signed(one.gained) : "", {class: "number"});
    if (one.gained) {
      gain.style.background = "rgba(var(--" + (one.gained > 0 ? "gain" : "heat") + ")," +
        (0.15 + 0.6 * Math.abs(one.gained) / largest) + ")";
    }
    row.append(gain);
    ["before", "after"].forEach((side, n) => {
      const line = one[side];
      const text = line === null ? "" : sides[n].source[line - 1], start = text.search(/\S|$/);
      row.append(element("span", line === null ? "" : line, {class: "number line " + side}),
        element("span", text.slice(start), {class: "text " + side, style: "--indent:" + start}));
    });
    if (one.changes.length) {
      row.classList.add("known");
      row.addEventListener("click", () => choose(number));
    }
    return row;
  }));
}
function choose(number, scroll) {
  chosen = number;
  const one = data.rows[number], box = byId("detail");
  timelines[0].chosen = one.before || -1; timelines[1].chosen = one.after || -1;
  for (const row of document.querySelectorAll("#source .chosen")) row.classList.remove("chosen");
  const row = byId("row-" + number);
  row.classList.add("chosen");
  if (scroll) row.scrollIntoView({block: "nearest"});
  box.replaceChildren();
  for (const change of one.changes) {
    const where = [change.before === null ? "" : "A line " + change.before,
      change.after === null ? "" : "B line " + change.after].filter(Boolean).join(", ");
    box.append(element("p", where + ": " + change.text, {class: "mono"}),
      element("p", "critical path " + signed(-change.gained) + ", at work " + signed(-change.busy) +
        ", waits " + signed(-change.waiting) + " cycles."));
    [change.before, change.after].forEach((line, n) => {
      for (const known of sides[n].lines.filter((entry) => entry.line === line)) {
        const waits = Object.entries(known.stalls).sort((a, b) => b[1] - a[1]).slice(0, 3)
          .map(([cause, cycles]) => cause + " " + count(cycles)).join(", ");
        box.append(element("p", "AB"[n] + ": " + count(known.count) + " times on " + known.engine +
          ", at work " + count(known.cycles) + (waits ? "; before it " + waits : "") + "."));
      }
    });
  }
  if (!one.changes.length) box.textContent = "Neither kernel spends time on this line.";
  view.draw();
}
function step(by) {
  const known = data.rows.map((one, n) => n).filter((n) => data.rows[n].changes.some(
    (c) => c.gained || c.busy || c.waiting));
  if (!known.length) return;
  let at = by > 0 ? known.find((n) => n > chosen) : known.findLast((n) => n < chosen);
  if (at === undefined) at = by > 0 ? known[known.length - 1] : known[0];
  choose(at, true);
}
function tables() {
  const difference = (before, after) => {
    const made = element("span", signed(after - before));
    made.style.color = after === before ? "" : after < before ? "var(--vector)" : "var(--path)";
    return made;
  };
  const line = (words, before, after) => [...words, count(before), count(after), difference(before, after)];
  const kinds = Object.keys(sides[0].path_kinds).filter(
    (name) => sides[0].path_kinds[name] || sides[1].path_kinds[name]);
  kinds.sort((a, b) => Math.abs(sides[1].path_kinds[b] - sides[0].path_kinds[b]) -
    Math.abs(sides[1].path_kinds[a] - sides[0].path_kinds[a]));
  fill(byId("kinds"), ["kind", "A", "B", "difference"], kinds.map((name) =>
    line([name], sides[0].path_kinds[name], sides[1].path_kinds[name])));
  const found = [];
  sides[0].engines.forEach((engine, n) => {
    const other = sides[1].engines[n].causes;
    for (const cause of new Set([...Object.keys(engine.causes), ...Object.keys(other)])) {
      found.push([engine.name, cause, engine.causes[cause] || 0, other[cause] || 0]);
    }
  });
  found.sort((a, b) => Math.abs(b[3] - b[2]) - Math.abs(a[3] - a[2]));
  fill(byId("causes"), ["engine", "what", "A", "B", "difference"], found.slice(0, 18).map(
    ([engine, cause, before, after]) => line([engine, cause], before, after)));
}
const [before, after] = data.cycles;
byId("title").textContent = data.kernels.join(" and ");
byId("about").textContent = "on " + data.case + ", task " + data.task + ", chip " + data.chip +
  " (fictional), timing version " + data.timing_version;
tiles(byId("tiles"), [
  [count(before), "cycles of A, " + data.kernels[0]],
  [count(after), "cycles of B, " + data.kernels[1]],
  [ratio(before / Math.max(1, after)), "the speed of B over A's"],
  [signed(after - before), "cycles, of them " + signed(-data.launch) + " launch and barriers"],
]);
byId("first").textContent = "A: " + data.kernels[0] + ", " + count(before) + " cycles";
byId("second").textContent = "B: " + data.kernels[1] + ", " + count(after) + " cycles";
key(byId("key"), TIMELINE_KEY);
timelines.forEach((one, n) => one.show(sides[n], 0));
controls(() => { rows(); if (chosen >= 0) choose(chosen); tables(); view.draw(); },
  {...view.keys, j: () => step(1), k: () => step(-1)});
rows(); tables(); view.whole(Math.max(before, after));
const hot = data.rows.reduce((best, one, n) =>
  Math.abs(one.gained) > Math.abs(data.rows[best].gained) ? n : best, 0);
byId("source").scrollTop = byId("row-" + hot).offsetTop - 120;
