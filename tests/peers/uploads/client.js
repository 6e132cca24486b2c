// Uploads with a key that is nobody's; prints what each client of Node's understood.
const http = require("node:http");
const http2 = require("node:http2");

const [host, rounds] = [process.argv[2], Number(process.argv[3])];
const authorization = "Bearer dw_s_wrong";
const body = Buffer.alloc(1 << 20, "x");

async function text(stream) {
  let all = "";
  for await (const chunk of stream) all += chunk;
  return all;
}

function byHttp() {
  return new Promise((resolve, reject) => {
    const request = http.request(`http://${host}/data`, { method: "PUT", headers: { authorization } });
    request.on("error", reject);
    request.on("response", async (answer) => resolve([answer.statusCode, await text(answer)]));
    request.end(body);
  });
}

function byHttp2(client) {
  return new Promise((resolve, reject) => {
    const request = client.request({ ":method": "PUT", ":path": "/data", authorization });
    let status;
    request.on("error", reject);
    request.on("response", (headers) => (status = headers[":status"]));
    text(request).then((all) => resolve([status, all]), reject);
    request.end(body);
  });
}

async function main() {
  const client = http2.connect(`http://${host}`);
  for (let round = 0; round < rounds; round++) {
    const answer = await fetch(`http://${host}/data`, { method: "PUT", body, headers: { authorization } });
    for (const [name, [status, all]] of [
      ["fetch", [answer.status, await answer.text()]],
      ["http", await byHttp()],
      ["http2", await byHttp2(client)],
    ]) {
      console.log(name, status, all.includes("invalid-key"));
    }
  }
  client.close();
}

main().catch((error) => {
  console.log("failed", error.cause ?? error);
  process.exit(1);
});
