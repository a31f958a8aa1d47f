// A stretch of time that one or more timelines show, and the timelines.
class View {
  constructor() { this.timelines = []; this.whole(1); }
  whole(cycles) {
    if (cycles !== undefined) this.cycles = cycles;
    this.begin = 0; this.end = this.cycles; this.draw();
  }
  draw() { for (const one of this.timelines) one.draw(); }
  move(by) {
    const size = this.end - this.begin;
    this.begin = Math.min(Math.max(0, this.begin + by * size), this.cycles - size);
    this.end = this.begin + size; this.draw();
  }
  zoom(factor, at) {
    const before = this.end - this.begin;
    const size = Math.min(this.cycles, Math.max(20, before * factor));
    const middle = at === undefined ? (this.begin + this.end) / 2 : at;
    const begin = middle - (middle - this.begin) * size / before;
    this.begin = Math.min(Math.max(0, begin), this.cycles - size);
    this.end = this.begin + size; this.draw();
  }
  get keys() {
    return {"+": () => this.zoom(0.8), "=": () => this.zoom(0.8), "-": () => this.zoom(1.25),
      ArrowLeft: () => this.move(-0.1), ArrowRight: () => this.move(0.1), "0": () => this.whole()};
  }
}
// The engines of one core over time. choose: called with the line of a slice that is clicked.
class Timeline {
  static row = 26; static left = 64; static foot = 22;
  constructor(canvas, view, choose) {
    this.canvas = canvas; this.view = view; this.run = null; this.chosen = 0;
    view.timelines.push(this);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault(); view.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.cycleAt(event));
    }, {passive: false});
    let held = null;
    canvas.addEventListener("pointerdown", (event) => { held = [event.clientX, false]; });
    window.addEventListener("pointermove", (event) => {
      if (!held) return;
      const by = event.clientX - held[0];
      if (Math.abs(by) > 3 || held[1]) {
        view.move(-by / (canvas.clientWidth - Timeline.left)); held = [event.clientX, true];
      }
    });
    window.addEventListener("pointerup", (event) => {
      if (held && !held[1] && event.target === canvas) {
        const line = this.lineAt(event);
        if (line) choose(line);
      }
      held = null;
    });
  }
  show(run, core) { this.run = run; this.slices = run.slices[core]; this.path = run.path[core] || []; }
  cycleAt(event) {
    const box = this.canvas.getBoundingClientRect(), left = Timeline.left;
    const part = (event.clientX - box.left - left) / (box.width - left);
    return this.view.begin + part * (this.view.end - this.view.begin);
  }
  lineAt(event) {
    const at = this.cycleAt(event), top = this.canvas.getBoundingClientRect().top;
    const engine = Math.floor((event.clientY - top) / Timeline.row);
    const hit = this.slices.find(
      (s) => s[0] === engine && s[2] <= at && at < s[2] + Math.max(s[3], 1));
    return hit ? this.run.numbers[hit[1]] : 0;
  }
  draw() {
    if (!this.run) return;
    const {canvas, run, view} = this, {row, left, foot} = Timeline, engines = run.engines;
    const wide = canvas.clientWidth, high = row * engines.length + foot;
    const pixels = window.devicePixelRatio || 1;
    canvas.style.height = high + "px";
    canvas.width = wide * pixels; canvas.height = high * pixels;
    const pen = canvas.getContext("2d");
    pen.scale(pixels, pixels);
    pen.fillStyle = colour("panel"); pen.fillRect(0, 0, wide, high);
    pen.font = "12px system-ui, sans-serif"; pen.textBaseline = "middle";
    const scale = (wide - left) / (view.end - view.begin);
    const x = (cycle) => left + (cycle - view.begin) * scale;
    engines.forEach((engine, number) => {
      pen.fillStyle = colour("text");
      pen.fillText(engine.name, 6, number * row + row / 2);
      pen.strokeStyle = colour("line");
      pen.strokeRect(left, number * row + 3, wide - left - 1, row - 6);
    });
    pen.save(); pen.beginPath(); pen.rect(left, 0, wide - left, high - foot); pen.clip();
    const fills = engines.map((engine) => colour(kind(engine.name)));
    const wait = colour("wait"), back = colour("back");
    for (const [engine, number, start, length, waited] of this.slices) {
      if (start + length < view.begin || start - waited > view.end) continue;
      const top = engine * row + 4;
      const size = Math.max(1, length * scale - (length * scale > 4 ? 1 : 0));
      if (waited) {
        pen.fillStyle = wait;
        pen.fillRect(x(start - waited), top + row - 11, waited * scale, 3);
      }
      pen.fillStyle = fills[engine];
      pen.globalAlpha = this.chosen && run.numbers[number] !== this.chosen ? 0.35 : 1;
      pen.fillRect(x(start), top, size, row - 12);
      pen.globalAlpha = 1;
      if (size > 44) {
        pen.fillStyle = back;
        const text = run.ops[number].slice(0, Math.floor(size / 8));
        pen.fillText(text, Math.max(x(start), left) + 3, top + 8);
      }
    }
    pen.fillStyle = colour("path");
    for (const [engine, start, length] of this.path) {
      pen.fillRect(x(start), engine * row + row - 7, Math.max(1, length * scale), 3);
    }
    if (view.end > run.cycles) {
      pen.fillRect(x(run.cycles), 0, 1, high - foot);
    }
    pen.restore();
    const steps = Math.max(2, Math.floor((wide - left) / 110));
    pen.fillStyle = colour("dim");
    for (let n = 0; n < steps; n++) {
      const cycle = view.begin + (view.end - view.begin) * n / steps;
      pen.fillRect(x(cycle), 0, 1, high - foot + 4);
      pen.fillText(count(cycle), x(cycle) + 3, high - foot / 2);
    }
  }
}
const TIMELINE_KEY = [["dma", "DMA"], ["matrix", "matrix"], ["vector", "vector"], ["sfu", "SFU"],
  ["wait", "waits for an operand or a slot"], ["path", "critical path"]];
