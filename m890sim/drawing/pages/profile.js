let run = data.runs[0], chosen = 0;
const view = new View();
const timeline = new Timeline(byId("timeline"), view, (line) => choose(line, true));
function choose(line, scroll) {
  chosen = timeline.chosen = line;
  for (const row of document.querySelectorAll("#source tr.chosen")) row.classList.remove("chosen");
  const row = byId("line-" + line), known = run.lines.filter((one) => one.line === line);
  if (row) {
    row.classList.add("chosen");
    if (scroll) row.scrollIntoView({block: "nearest"});
  }
  const box = byId("detail");
  box.replaceChildren();
  if (!known.length) box.textContent = "Choose a slice or a line.";
  for (const one of known) {
    const waits = Object.entries(one.stalls).sort((a, b) => b[1] - a[1])
      .map(([cause, n]) => cause + " " + count(n)).join(", ");
    const whom = Object.entries(one.waits_for).map(([n, c]) => "line " + n + " " + count(c)).join(", ");
    const parts = Object.entries(one.transfer).filter((entry) => entry[1])
      .map(([name, n]) => name + " " + count(n)).join(", ");
    box.append(element("p", "line " + one.line + ": " + one.text, {class: "mono"}));
    box.append(element("p", count(one.count) + " times on " + one.engine + ", at work " +
      count(one.cycles) + " cycles" + (parts ? " (" + parts + ")" : "") + "; its engine stood idle " +
      count(one.waiting) + " before it" + (waits ? ": " + waits : "") +
      (whom ? "; it waited for " + whom : "") + "."));
  }
  view.draw();
}
function sources() {
  const table = element("table"), path = {};
  for (const entry of run.path_lines) path[entry.line] = entry.cycles / run.cycles;
  run.source.forEach((text, index) => {
    const line = index + 1, known = run.lines.filter((one) => one.line === line);
    const row = table.insertRow();
    row.id = "line-" + line;
    const heat = path[line] || 0, work = known.reduce((sum, one) => sum + one.share, 0);
    const worst = known.map((one) => [one.waiting, one]).sort((a, b) => b[0] - a[0])[0];
    const whole = run.cycles * run.cores;
    const cells = [line, heat ? share(heat) : "", work ? share(work) : "",
      worst && worst[0] ? share(worst[0] / whole) : ""];
    cells.forEach((cell, number) => {
      const made = row.insertCell();
      made.textContent = cell;
      if (number > 1) made.className = "wide";
    });
    if (heat) row.cells[1].style.background = "rgba(" + colour("heat") + "," + (0.15 + heat) + ")";
    const cause = worst && Object.entries(worst[1].stalls).sort((a, b) => b[1] - a[1])[0];
    const told = row.insertCell();
    told.textContent = cause ? cause[0] : ""; told.className = "left wide";
    const code = row.insertCell(); code.className = "code"; code.textContent = text;
    if (known.length) {
      row.className = "known";
      row.addEventListener("click", () => choose(line));
    }
  });
  const head = table.createTHead().insertRow();
  const classes = {"at work": "wide", waits: "wide", for: "left wide", source: "left"};
  ["line", "path", "at work", "waits", "for", "source"].forEach((n) => head.append(
    element("th", n, {class: classes[n] || ""})));
  byId("source").replaceChildren(table);
  const hot = run.path_lines.find((one) => one.line);
  const row = hot && byId("line-" + hot.line);
  if (row) byId("source").scrollTop = row.offsetTop - 120;
}
function tables() {
  fill(byId("engines"), ["engine", "at work", "", "why not"], run.engines.map((engine) => {
    const causes = {...engine.causes}, total = run.cycles * run.cores;
    const busy = causes.busy || 0; delete causes.busy;
    const slowed = (causes.port || 0) + (causes.hbm || 0);
    const idle = (causes.launch || 0) + (causes["nothing left"] || 0);
    const why = Object.entries(causes).sort((a, b) => b[1] - a[1]).slice(0, 4)
      .map(([cause, n]) => cause + " " + share(n / total)).join(", ");
    const rest = total - busy - slowed - idle;
    const drawn = bar([[busy, kind(engine.name)], [slowed, "path"], [rest, "wait"], [idle, "line"]], total);
    return [engine.name, share(busy / total), drawn, why];
  }));
  fill(byId("path"), ["line", "cycles", "share", "what"], run.path_lines.slice(0, 14).map((one) => {
    const known = run.lines.find((line) => line.line === one.line);
    return [one.line || "", count(one.cycles), share(one.cycles / run.cycles),
      element("code", known ? known.text.slice(0, 60) : "launch and barriers")];
  }));
  fill(byId("whatif"), ["if", "saved", "speedup"], run.what_if.filter((one) => one.saved > 0)
    .slice(0, 14).map((one) => [one.change, count(one.saved),
      (run.cycles / one.cycles).toFixed(2) + "x"]));
  fill(byId("ladder"), ["step", "kernel", "cycles"], run.ladder.map((one) => [
    one.step === null ? "" : one.step,
    element(one.step === null ? "b" : "span", one.kernel), count(one.cycles)]));
}
function roofline() {
  const found = run.roofline, wide = 420, high = 210, left = 50, foot = 34;
  const least = Math.min(found.ridge, found.intensity || found.ridge) / 8;
  const most = Math.max(found.ridge, found.intensity) * 8;
  const low = Math.min(found.achieved || found.peak, found.peak) / 4;
  const x = (v) => left + (Math.log(v / least) / Math.log(most / least)) * (wide - left - 10);
  const y = (v) => 10 + (Math.log(found.peak * 2 / v) / Math.log(found.peak * 2 / low)) * (high - foot - 10);
  const slope = found.peak / found.ridge;
  const start = Math.max(least, low / slope);
  let text = `<svg viewBox="0 0 ${wide} ${high}" width="100%" role="img" aria-label="roofline">`;
  text += `<polyline fill="none" stroke="var(--dim)" stroke-width="2" points="${x(start)},${y(start * slope)} ${x(found.ridge)},${y(found.peak)} ${wide - 10},${y(found.peak)}"/>`;
  text += `<line x1="${left}" x2="${left}" y1="10" y2="${high - foot}" stroke="var(--line)"/>`;
  text += `<line x1="${left}" x2="${wide - 10}" y1="${high - foot}" y2="${high - foot}" stroke="var(--line)"/>`;
  text += `<text x="${wide - 10}" y="${y(found.peak) - 6}" text-anchor="end">matrix unit: ${count(found.peak)} products a cycle</text>`;
  text += `<text x="${x(found.ridge)}" y="${high - foot + 14}" text-anchor="middle">${found.ridge.toFixed(1)}</text>`;
  if (found.achieved > 0) {
    text += `<circle cx="${x(found.intensity)}" cy="${y(found.achieved)}" r="5" fill="var(--path)"/>`;
  }
  text += `<text x="${wide - 10}" y="${high - 4}" text-anchor="end">products a byte of HBM</text></svg>`;
  byId("roofline").innerHTML = text;
  // In words below: beside the point they would cross the roof.
  byId("roofline").append(element("p", found.achieved ? "This run (the point): " +
    count(found.achieved) + " products a cycle, " + found.intensity.toFixed(1) + " a byte; " +
    share(found.achieved / found.attainable) + " of what the roof allows there."
    : "No matmul in this kernel.", {class: "dim"}));
}
function memory() {
  const place = byId("memory");
  place.replaceChildren();
  for (const phase of run.memory) {
    place.append(element("p", "Phase at line " + phase.line + ": " + count(phase.sram_free) +
      " B of SRAM free, " + count(phase.acc_free) + " B of ACC. A column is a bank."));
    const banks = run.banks, size = run.sram / banks, high = 150;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${banks * 60} ${high + 16}`);
    svg.setAttribute("width", "100%");
    svg.style.minWidth = banks * 36 + "px";
    const add = (tag, attributes, title) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
      if (title) {
        const told = document.createElementNS("http://www.w3.org/2000/svg", "title");
        told.textContent = title; made.append(told);
      }
      svg.append(made); return made;
    };
    for (let bank = 0; bank < banks; bank++) {
      add("rect", {x: bank * 60 + 1, y: 0, width: 58, height: high, fill: "var(--panel)",
        stroke: "var(--line)"});
      add("text", {x: bank * 60 + 30, y: high + 12, "text-anchor": "middle"}).textContent = bank;
    }
    for (const slot of phase.sram) {
      for (let at = slot.address; at < slot.address + slot.size;) {
        const bank = Math.floor(at / size), end = Math.min(slot.address + slot.size, (bank + 1) * size);
        const top = (at - bank * size) / size * high, tall = (end - at) / size * high;
        add("rect", {x: bank * 60 + 3, y: top, width: 54, height: Math.max(1, tall - 0.5),
          fill: "var(--dma)", "fill-opacity": slot.slot % 2 ? 0.35 : 0.55},
          `${slot.tile}, slot ${slot.slot}, ${count(slot.size)} B, line ${slot.line}`);
        if (tall > 11) add("text", {x: bank * 60 + 6, y: top + 11}).textContent = slot.tile.slice(0, 8);
        at = end;
      }
    }
    const box = element("div", undefined, {class: "scroll"});
    box.append(svg);
    place.append(box);
  }
}
function show(name) {
  run = data.runs.find((one) => one.case === name) || data.runs[0];
  chosen = timeline.chosen = 0;
  byId("title").textContent = run.kernel + " on " + run.case;
  byId("about").textContent = "task " + run.task + ", chip " + run.chip +
    " (fictional), timing version " + run.timing_version;
  tiles(byId("tiles"), [
    [count(run.cycles), "cycles"],
    [run.reference ? ratio(run.reference / run.cycles) : "-", "of the reference's speed"],
    [run.bound ? count(run.bound) : "-", "cycles that no kernel can beat"],
    [count(run.hbm.bytes), "bytes through HBM" + (run.hbm.least_bytes ?
      ", " + (run.hbm.bytes / run.hbm.least_bytes).toFixed(1) + " times the least" : "")],
    ...run.rates.filter((rate) => rate.achieved).map((rate) =>
      [share(rate.share), "of " + rate.name + "'s peak"]),
  ]);
  const cores = byId("core");
  cores.replaceChildren(...run.slices.map((_, n) => element("option", String(n), {value: n})));
  cores.value = run.last_core;
  timeline.show(run, run.last_core);
  byId("detail").textContent = "Choose a slice or a line.";
  sources(); tables(); roofline(); memory(); view.whole(run.cycles);
}
key(byId("key"), TIMELINE_KEY);
byId("case").replaceChildren(
  ...data.runs.map((one) => element("option", one.case, {value: one.case})));
byId("case").addEventListener("change", (event) => show(event.target.value));
byId("core").addEventListener("change", (event) => {
  timeline.show(run, Number(event.target.value)); view.draw();
});
const step = (by) => {
  const known = [...new Set(run.lines.map((one) => one.line))];
  const at = known.indexOf(chosen) + by;
  choose(known[Math.min(Math.max(0, at), known.length - 1)], true);
};
controls(() => { sources(); if (chosen) choose(chosen); view.draw(); },
  {...view.keys, j: () => step(1), k: () => step(-1)});
show(data.runs[0].case);
