"""Three Python servers that say of each request its id, method and target, as they read them.

`wsgi` is for gunicorn and `asgi` for uvicorn; run with a port it is Python's own `http.server`, and with `unread` behind
that one whose handlers, as most do, read no body where they expect none.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def say(name, method, target):
    print(f"seen {name} {method} {target}", flush=True)


def wsgi(environ, start_response):
    environ["wsgi.input"].read()
    say(environ.get("HTTP_X_REQUEST_ID"), environ["REQUEST_METHOD"], environ["RAW_URI"])
    start_response("200 OK", [("content-length", "2")])
    return [b"ok"]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    query = scope["query_string"].decode("latin-1")
    target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    say(headers.get("x-request-id"), scope["method"], target)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


UNREAD = "unread" in sys.argv


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        if not (UNREAD and self.command in ("GET", "HEAD", "DELETE", "OPTIONS")):
            self.read_body()
        say(self.headers.get("x-request-id"), self.command, self.path)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"ok")

    def read_body(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        # The one framing this server leaves to its handlers.
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            while self.rfile.readline().strip():
                pass

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
