"""What an application sees of a request, as one line of JSON: a WSGI and an ASGI application, and frameworks on top."""

import json


def of_environ(environ):
    """The facts of a WSGI request, as the server tells them."""
    return {
        "method": environ.get("REQUEST_METHOD"),
        "script": environ.get("SCRIPT_NAME", ""),
        "path": environ.get("PATH_INFO"),
        "query": environ.get("QUERY_STRING", ""),
        "type": environ.get("CONTENT_TYPE") or environ.get("HTTP_CONTENT_TYPE") or "",
        "length": environ.get("CONTENT_LENGTH") or environ.get("HTTP_CONTENT_LENGTH") or "",
        "key": environ.get("HTTP_X_API_KEY", ""),
        "who": environ.get("HTTP_X_AUTH_USER", "") + environ.get("REMOTE_USER", ""),
        "scheme": environ.get("wsgi.url_scheme"),
        "host": environ.get("HTTP_HOST"),
        "client": environ.get("REMOTE_ADDR"),
    }


def wsgi(environ, start_response):
    body = json.dumps(of_environ(environ)).encode()
    start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    headers = {}
    for name, value in scope["headers"]:
        # As the ASGI adapters for WSGI fold names.
        headers.setdefault(name.decode("latin-1").replace("_", "-").lower(), value.decode("latin-1"))
    told = {
        "method": scope["method"],
        "script": scope.get("root_path", ""),
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "type": headers.get("content-type", ""),
        "length": headers.get("content-length", ""),
        "key": headers.get("x-api-key", ""),
        "who": headers.get("x-auth-user", ""),
        "scheme": scope["scheme"],
        "host": headers.get("host"),
        "client": (scope.get("client") or [""])[0],
    }
    body = json.dumps(told).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


def flask_behind_proxy():
    """Flask with the middleware that its documentation names for use behind a proxy."""
    from flask import Flask, request
    from werkzeug.middleware.proxy_fix import ProxyFix

    app = Flask("reports")

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST", "DELETE"])
    @app.route("/<path:path>", methods=["GET", "POST", "DELETE"])
    def anything(path):
        told = of_environ(request.environ)
        return told | {"script": request.script_root, "path": request.path, "scheme": request.scheme, "host": request.host}

    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)
    return app


def bottle_application():
    import bottle

    app = bottle.Bottle()

    @app.route("/", method=["GET", "POST", "DELETE"])
    @app.route("/<path:path>", method=["GET", "POST", "DELETE"])
    def anything(path=""):
        parts = bottle.request.urlparts
        told = of_environ(bottle.request.environ)
        return told | {"scheme": parts.scheme, "host": parts.netloc, "script": bottle.request.script_name, "path": bottle.request.path}

    return app


def django_application():
    import django
    from django.conf import settings
    from django.http import JsonResponse
    from django.urls import re_path

    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__ + "_urls",
        SECRET_KEY="reports",
        USE_X_FORWARDED_HOST=True,
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    )
    import sys
    import types

    def anything(request):
        told = of_environ(request.META)
        return JsonResponse(told | {"method": request.method, "script": request.META["SCRIPT_NAME"], "path": request.path_info, "scheme": request.scheme, "host": request.get_host()})

    urls = types.ModuleType(__name__ + "_urls")
    urls.urlpatterns = [re_path("", anything)]
    sys.modules[__name__ + "_urls"] = urls
    django.setup()
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def below_a_prefix():
    """The middleware for sub-paths that many WSGI applications have: X-Script-Name and X-Scheme."""

    def application(environ, start_response):
        script = environ.get("HTTP_X_SCRIPT_NAME", "")
        if script:
            environ["SCRIPT_NAME"] = script
            if environ["PATH_INFO"].startswith(script):
                environ["PATH_INFO"] = environ["PATH_INFO"][len(script):]
        environ["wsgi.url_scheme"] = environ.get("HTTP_X_SCHEME") or environ["wsgi.url_scheme"]
        return wsgi(environ, start_response)

    return application


def names(environ, start_response):
    """The name of the caller, decoded as a reader of each encoding does."""
    import email.header
    import quopri
    import urllib.parse

    raw = environ.get("HTTP_X_AUTH_USER", "").encode("latin-1")
    readers = {
        "percent": lambda: urllib.parse.unquote(raw.decode("ascii")),
        "utf-8": lambda: raw.decode(),
        "quoted-printable": lambda: quopri.decodestring(raw).decode(),
        "rfc2047": lambda: str(email.header.make_header(email.header.decode_header(raw.decode("ascii")))),
    }
    user = readers[environ.get("HTTP_X_READ_AS", "utf-8")]()
    body = json.dumps({"user": user, "raw": raw.decode("latin-1")}).encode()
    start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    import sys

    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "cheroot":
        from cheroot.wsgi import Server

        Server(("127.0.0.1", port), wsgi).start()
    else:
        from wsgiref.simple_server import make_server

        make_server("127.0.0.1", port, names if kind == "names" else wsgi).serve_forever()
