"""Servers that switch protocols: NAME PORT. Each answers GET /ready by 200, and echoes over WebSockets."""

import asyncio
import sys

HOST = "127.0.0.1"
NAME, PORT = sys.argv[1], int(sys.argv[2])


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": event.get("text") or ""})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"plain"})


def run_uvicorn(ws):
    import uvicorn

    uvicorn.run(asgi, host=HOST, port=PORT, ws=ws, access_log=False)


def run_hypercorn():
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"{HOST}:{PORT}"]
    asyncio.run(serve(asgi, config))


def run_websockets():
    import http

    from websockets.asyncio.server import serve

    def ready(connection, request):
        if request.path == "/ready":
            return connection.respond(http.HTTPStatus.OK, "plain")
        return None

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async def main():
        async with serve(echo, HOST, PORT, process_request=ready) as server:
            await server.serve_forever()

    asyncio.run(main())


def run_autobahn():
    from autobahn.twisted.resource import WebSocketResource
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
    from twisted.internet import reactor
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Echo(WebSocketServerProtocol):
        def onMessage(self, payload, isBinary):
            self.sendMessage(payload, isBinary)

    class Ready(Resource):
        isLeaf = True

        def render_GET(self, request):
            return b"plain"

    factory = WebSocketServerFactory()
    factory.protocol = Echo
    root = Resource()
    root.putChild(b"ready", Ready())
    root.putChild(b"ws", WebSocketResource(factory))
    reactor.listenTCP(PORT, Site(root), interface=HOST)
    reactor.run()


def run_aiohttp():
    from aiohttp import web

    async def handle(request):
        socket = web.WebSocketResponse()
        if not socket.can_prepare(request):
            return web.Response(text="plain")
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    web.run_app(app, host=HOST, port=PORT, print=None)


def run_tornado():
    from tornado.ioloop import IOLoop
    from tornado.web import Application, RequestHandler
    from tornado.websocket import WebSocketHandler

    class Ready(RequestHandler):
        def get(self):
            self.write("plain")

    class Echo(WebSocketHandler):
        def on_message(self, message):
            self.write_message(message)

    Application([("/ready", Ready), ("/ws", Echo)]).listen(PORT, HOST)
    IOLoop.current().start()


{
    "autobahn": run_autobahn,
    "websockets": run_websockets,
    "uvicorn": lambda: run_uvicorn("websockets"),
    "uvicorn-wsproto": lambda: run_uvicorn("wsproto"),
    "hypercorn": run_hypercorn,
    "aiohttp": run_aiohttp,
    "tornado": run_tornado,
}[NAME]()
