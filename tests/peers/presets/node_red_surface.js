// What the installed Node-RED serves, and whom its own `adminAuth` would let in, as JSON: it knows people who may do
// everything, and people who may read. Started with the folder of its modules.
const fs = require("fs"), http = require("http"), os = require("os"), path = require("path");
const { answers, watch } = require("./express_routes.js");
const from = require("module").createRequire(path.join(process.argv[2], "package.json"));

// Both are seen to before anything of Node-RED asks for them.
const auth = from("@node-red/editor-api/lib/auth");
const original = auth.needsPermission;
auth.needsPermission = (permission) => Object.assign(original(permission), { permission });
const express = from("express");
watch(express);
const RED = from("node-red");

const userDir = fs.mkdtempSync(path.join(os.tmpdir(), "surface-"));
const logging = { console: { level: "off", metrics: false, audit: false } };
RED.init(http.createServer(express()), { userDir, httpAdminRoot: "/", httpNodeRoot: "/", logging });

const EVERYBODY = ["admin", "member", "viewer"];
const reads = (permission) => permission === "" || permission.endsWith(".read");
const demands = (permissions) => (permissions.length ? (permissions.every(reads) ? EVERYBODY : ["admin", "member"]) : ["anyone"]);

RED.start().then(() => {
  const socket = { method: "WEBSOCKET", path: "/comms", demands: EVERYBODY };
  process.stdout.write(JSON.stringify({ answers: [...answers(RED.httpAdmin, demands), socket] }), () => {
    fs.rmSync(userDir, { recursive: true, force: true });
    process.exit(0);
  });
});
