let chosen = data.best === null ? 0 : data.best, step = -1;
const log = data.log, view = new View();
const timeline = new Timeline(byId("timeline"), view, instruction);

function curve() {
  const place = byId("curve"), wide = Math.max(280, place.clientWidth);
  const high = wide < 600 ? 260 : 340, left = 44, right = 58, top = 8, foot = 26;
  const timed = log.filter((one) => one.correct !== false).map((one) => one.speedup);
  const values = [1, ...timed, ...log.map((one) => one.best_speedup)];
  let most = Math.max(...values) * 1.15, least = Math.min(0.85, Math.min(...values) * 0.85);
  const yardsticks = data.published.filter((y) => y < most * 1.3);
  most = Math.max(most, ...yardsticks.map((y) => y * 1.15), 1.3);
  const last = Math.max(1, data.evaluations - 1);
  const x = (n) => left + n / last * (wide - left - right);
  const y = (s) => top + (high - top - foot) * Math.log(most / s) / Math.log(most / least);
  const svg = drawn("svg", {width: wide, height: high, viewBox: `0 0 ${wide} ${high}`});
  const add = (tag, attributes, text) => {
    const made = drawn(tag, attributes, text); svg.append(made); return made;
  };
  add("rect", {x: left, y: top, width: wide - left - right, height: high - top - foot,
    fill: "var(--panel)"});
  let before = Infinity;
  for (const value of [0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500]) {
    if (value <= least || value >= most || before - y(value) < 18) continue;
    before = y(value);
    add("line", {x1: left, x2: wide - right, y1: y(value), y2: y(value), stroke: "var(--line)"});
    add("text", {x: left - 6, y: y(value) + 4, "text-anchor": "end"}, value + "x");
  }
  let unit = 1;
  for (let n = 0; last / unit > (wide - left - right) / 60; n++) {
    unit = [1, 2, 5][n % 3] * 10 ** Math.floor(n / 3);
  }
  for (let n = 0; n <= last; n += unit) {
    add("line", {x1: x(n), x2: x(n), y1: high - foot, y2: high - foot + 4, stroke: "var(--dim)"});
    add("text", {x: x(n), y: high - foot + 16, "text-anchor": "middle"}, n);
  }
  for (const value of yardsticks) {
    add("line", {x1: left, x2: wide - right, y1: y(value), y2: y(value),
      stroke: "var(--yardstick)", "stroke-dasharray": "5 4"});
  }
  log.forEach((one) => {
    const failed = one.correct === false, at = [x(one.index), failed ? high - foot - 6 : y(one.speedup)];
    if (failed) {
      add("path", {d: `M${at[0] - 2.5} ${at[1] - 2.5}l5 5m0 -5l-5 5`, stroke: "var(--mark)"});
    } else add("circle", {cx: at[0], cy: at[1], r: 1.8, fill: "var(--mark)"});
  });
  const points = log.map((one, n) => (n ? `H${x(n)}V` : `M${x(n)} `) + y(one.best_speedup));
  add("path", {d: points.join(""), fill: "none", stroke: "var(--dma)", "stroke-width": 2});
  for (const one of data.lineage) {
    if (one.evaluation === null || one.speedup === null) continue;
    add("circle", {cx: x(one.evaluation), cy: y(one.speedup), r: 3, fill: "var(--dma)"});
  }
  const here = log[chosen];
  if (here) {
    add("line", {x1: x(chosen), x2: x(chosen), y1: top, y2: high - foot, stroke: "var(--path)"});
    add("circle", {cx: x(chosen), cy: here.correct === false ? high - foot - 6 : y(here.speedup),
      r: 5, fill: "none", stroke: "var(--path)", "stroke-width": 2});
  }
  // Labels stand in the margin, where no curve comes, and are pushed apart.
  const labels = yardsticks.map((value) => [y(value), value + "x", "yardstick"]);
  if (log.length) labels.push([y(log[log.length - 1].best_speedup), ratio(data.speedup), "dma"]);
  labels.sort((a, b) => a[0] - b[0]);
  labels.forEach((label, n) => { label.push(n ? Math.max(label[0], labels[n - 1][3] + 14) : label[0]); });
  for (const [at, text, name, stands] of labels) {
    add("path", {d: `M${wide - right} ${at}h4V${stands}h4`, fill: "none", stroke: `var(--${name})`});
    const made = add("text", {x: wide - right + 11, y: stands + 4}, text);
    made.style.fill = `var(--${name})`;
    if (name === "dma") made.style.fontWeight = "bold";
  }
  svg.addEventListener("click", (event) => {
    const at = event.clientX - svg.getBoundingClientRect().left;
    choose(Math.round((at - left) / (wide - left - right) * last));
  });
  place.replaceChildren(svg);
}
function choose(index) {
  chosen = Math.max(0, Math.min(log.length - 1, index));
  const one = log[chosen], box = byId("detail");
  if (!one) return;
  const cycles = Object.entries(one.cycles).map(([name, n]) => name + " " + (n === null ? "-" : count(n)));
  const verdict = one.correct === false ? "failed" : ratio(one.speedup) +
    (one.correct === null ? ", not checked: not the fastest" : ", right by the gate of the search");
  box.replaceChildren(element("p", "evaluation " + one.index + ": " + verdict),
    element("p", (one.how || "the start kernel"), {class: "mono"}),
    element("p", one.correct === false ? one.code + " " + one.message : "cycles: " + cycles.join(", ")));
  curve();
}
function steps() {
  const all = byId("small").checked, shown = [];
  data.lineage.forEach((one, number) => {
    const tiny = one.gain !== null && Math.abs(one.gain - 1) < 0.005;
    if (all || !tiny || number === data.lineage.length - 1) shown.push(number);
  });
  const largest = Math.max(0.01, ...data.lineage.map((one) => Math.abs(Math.log(one.gain || 1))));
  const body = fill(byId("lineage"), ["step", "gain", "", "speedup", "evaluation", "what"],
    shown.map((number) => {
      const one = data.lineage[number], log = Math.log(one.gain || 1);
      const strip = bar([[Math.abs(log), log < 0 ? "path" : "vector"],
        [largest - Math.abs(log), "panel"]], largest);
      strip.style.minWidth = "70px";
      const places = one.places.length > 1 ? ", " + one.places.length + " places" : "";
      return [number, one.gain === null ? "" : signedShare(one.gain - 1), strip,
        one.speedup === null ? "does not fit" : ratio(one.speedup),
        one.evaluation === null ? "" : one.evaluation, element("code", one.what + places)];
    }));
  for (const cell of [2, 4]) byId("lineage").tHead.rows[0].cells[cell].className = "wide";
  shown.forEach((number, n) => {
    const row = body.rows[n];
    row.className = "known"; row.id = "step-" + number;
    for (const cell of [2, 4]) row.cells[cell].className = "wide";
    row.addEventListener("click", () => select(number));
  });
  if (step >= 0) byId("step-" + step)?.classList.add("chosen");
}
const signedShare = (x) => (Math.abs(x) < 0.0005 ? "" : x < 0 ? "−" : "+") +
  Math.abs(100 * x).toFixed(1) + "%";
function select(number) {
  step = number;
  const one = data.lineage[number];
  for (const row of document.querySelectorAll("#lineage tr.chosen")) row.classList.remove("chosen");
  const row = byId("step-" + number);
  if (row) { row.classList.add("chosen"); row.scrollIntoView({block: "nearest"}); }
  diff(byId("diff"), one.message ? one.code + " " + one.message + "\n" + one.diff
    : one.diff || "The start kernel; no change.");
  if (one.evaluation !== null) choose(one.evaluation);
}
function go(by) {
  const rows = [...document.querySelectorAll("#lineage tr.known")].map((row) => Number(row.id.slice(5)));
  const at = rows.indexOf(step) + by;
  if (rows.length) select(rows[Math.max(0, Math.min(rows.length - 1, at))]);
}
function instruction(line) {
  timeline.chosen = line;
  byId("instruction").textContent = "line " + line + ": " + data.kernel.source[line - 1].trim();
  view.draw();
}
function tables() {
  const body = fill(byId("refusals"), ["why", "times", "after", "for example"],
    data.refusals.map((one) => [one.code + ": " + one.reason, count(one.count),
      one.edits.map(([name, n]) => name + " " + n).join(", ") || "-",
      one.examples.map((e) => "evaluation " + e.evaluation + ": " + e.message).join("\n")]));
  for (const row of body.rows) for (const n of [0, 2, 3]) row.cells[n].className = "wrap";
  if (!data.refusals.length) body.insertRow().insertCell().textContent = "Nothing was refused.";
  const whole = Object.values(data.seconds).reduce((sum, one) => sum + one, 0);
  fill(byId("time"), ["part", "seconds", "share", ""], Object.entries(data.seconds).map(
    ([part, value]) => [part, value.toFixed(1), share(whole ? value / whole : 0),
      bar([[value, "dma"], [whole - value, "line"]], whole || 1)]));
  byId("timenote").textContent = whole ? Object.entries(data.parts).map(([part, text]) =>
    part + ": " + text).join("; ") + ". By the clock of whoever ran it, for " + data.timed_evaluations +
    " of " + data.spent + " evaluations; no part of the record." : "The run has no times.json.";
  fill(byId("cases"), ["case", "reference", "best", "speedup", "bound"], data.by_case.map((one) => [
    one.case, count(one.reference), one.cycles === null ? "-" : count(one.cycles),
    one.cycles === null ? "-" : ratio(one.reference / one.cycles),
    one.bound === null ? "-" : count(one.bound)]));
}
byId("title").textContent = data.agent + " on " + data.task;
byId("about").textContent = "chip " + data.chip + " (fictional), seed " + data.seed + ", from " +
  data.start + ", timing version " + data.timing_version;
tiles(byId("tiles"), [
  [ratio(data.speedup), "over " + data.reference],
  [data.hidden_speedup === null ? "-" : ratio(data.hidden_speedup), "on hidden cases, as recorded"],
  [data.spent + " of " + data.evaluations, "evaluations spent"],
  [count(data.failed), "of them failed" + (data.profiles ? ", " + data.profiles + " profiles" : "")],
  [data.best === null ? "-" : data.best, "evaluation of the best kernel"],
]);
byId("standing").textContent = data.judged ? "" :
  "The run has not ended: its best kernel was not judged in full.";
key(byId("curvekey"), [["dma", "best so far; dots: steps of the lineage"], ["mark", "an evaluation (cross: failed)"],
  ["yardstick", "published for REAL hardware (LLM agents), no results of this simulator"]]);
key(byId("key"), TIMELINE_KEY);
byId("small").addEventListener("change", steps);
if (data.kernel) {
  byId("shown").textContent = data.kernel.case + ", the core that ends last.";
  timeline.show(data.kernel, 0);
  view.whole(data.kernel.cycles);
} else byId("engines").remove();
controls(() => { curve(); steps(); tables(); view.draw(); }, {
  ...view.keys, ArrowLeft: () => choose(chosen - 1), ArrowRight: () => choose(chosen + 1),
  Home: () => choose(0), End: () => choose(log.length - 1), j: () => go(1), k: () => go(-1)});
steps(); tables(); choose(chosen);
