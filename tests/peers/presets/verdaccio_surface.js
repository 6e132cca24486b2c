// What the installed Verdaccio serves, as JSON; packages that are open to `$all` it gives to everybody. Started with the
// folder of its modules.
const fs = require("fs"), os = require("os"), path = require("path");
const { answers, watch } = require("./express_routes.js");
const from = require("module").createRequire(path.join(process.argv[2], "package.json"));

watch(from("express"));
const { runServer } = from("verdaccio");
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "surface-"));
const config = path.join(folder, "config.yaml");
fs.writeFileSync(config, "storage: ./storage\nauth: {}\nlog: { type: stdout, format: json, level: fatal }\nflags: { changePassword: true }\nmiddlewares: { audit: { enabled: true } }\n");

runServer(config).then((server) => {
  const found = answers(server.listeners("request")[0], () => ["anyone"]);
  // Mounted below itself, and reached by its path alone.
  const told = found.map((one) => ({ ...one, path: one.path.replace("/-/verdaccio/-/verdaccio/", "/-/verdaccio/") }));
  process.stdout.write(JSON.stringify({ answers: told }), () => {
    fs.rmSync(folder, { recursive: true, force: true });
    process.exit(0);
  });
});
