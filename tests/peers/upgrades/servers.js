// Servers that switch protocols: NAME PORT. `ws` is the package; `node` is the bare `upgrade` event of Node, which
// says nothing of what is asked for.
const http = require('http');
const { createHash } = require('crypto');
const [name, port] = process.argv.slice(2);
const server = http.createServer((request, response) => response.end('plain'));
if (name === 'ws') {
  const { WebSocketServer } = require('ws');
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => {
    socket.on('message', (message) => socket.send(message));
    socket.on('error', () => {});
  });
} else {
  server.on('upgrade', (request, socket) => {
    const key = request.headers['sec-websocket-key'] ?? '';
    const accept = createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n'
      + `Upgrade: ${request.headers.upgrade}\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
}
server.listen(Number(port), '127.0.0.1');
