// Node's own server: says of each request its id, method and target, as it read them.
const port = Number(process.argv[2]);
require("node:http")
  .createServer((request, response) => {
    request.resume();
    request.on("end", () => {
      console.log(`seen ${request.headers["x-request-id"]} ${request.method} ${request.url}`);
      response.end("ok");
    });
  })
  .listen(port, "127.0.0.1");
