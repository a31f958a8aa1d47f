// Perfetto's trace processor (WebAssembly, as its UI loads it) behind stdin and stdout:
// each way frames of four bytes of length and one message of its RPC protocol.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");
const folder = process.argv[2];

console.log = console.info = console.warn = (...words) => process.stderr.write(words.join(" ") + "\n");
globalThis.self = globalThis;
globalThis.WorkerGlobalScope = function () {};
globalThis.location = { href: "file:///engine_bundle.js" };
globalThis.importScripts = () => {};
globalThis.XMLHttpRequest = class {
  open(_, name) {
    this.name = path.basename(name);
  }
  send() {
    this.response = new Uint8Array(fs.readFileSync(path.join(folder, this.name))).buffer;
  }
};
delete globalThis.process.versions.node;
vm.runInThisContext(fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf8"));

const port = {
  postMessage(bytes) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    fs.writeSync(1, length);
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(1, bytes, at);
  },
};
globalThis.onmessage({ data: port });
let held = Buffer.alloc(0);
process.stdin.on("data", (more) => {
  held = Buffer.concat([held, more]);
  while (held.length >= 4 && held.length >= 4 + held.readUInt32LE(0)) {
    const end = 4 + held.readUInt32LE(0);
    port.onmessage({ data: new Uint8Array(held.subarray(4, end)) });
    held = held.subarray(end);
  }
});
