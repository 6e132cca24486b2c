// What an application sees of a request: Node alone, and Express that trusts its proxy.
const [kind, port] = process.argv.slice(2)
const told = (request, more) => ({
  method: request.method,
  script: '',
  path: decodeURIComponent(request.url.split('?')[0]),
  query: request.url.split('?')[1] || '',
  type: request.headers['content-type'] || '',
  length: request.headers['content-length'] || '',
  key: request.headers['x-api-key'] || '',
  who: request.headers['x-auth-user'] || '',
  scheme: 'http',
  host: request.headers.host,
  client: request.socket.remoteAddress,
  ...more,
})
if (kind === 'express') {
  const app = require('express')()
  app.set('trust proxy', true)
  app.use((request, response) =>
    response.json(told(request, { scheme: request.protocol, host: request.host, client: request.ip })))
  app.listen(Number(port), '127.0.0.1')
} else {
  require('http').createServer((request, response) => response.end(JSON.stringify(told(request))))
    .listen(Number(port), '127.0.0.1')
}
