"""The routes of a Starlette application, and of what is mounted in it."""

import re

from starlette.routing import Mount


def routes(all_routes, before=""):
    """Method and path of each; of a WebSocket its opening handshake."""
    for route in all_routes:
        if hasattr(route, "effective_candidates"):
            yield from routes(route.effective_candidates(), before)
        elif isinstance(route, Mount):
            below = getattr(route.app, "routes", None)
            yield from routes(below, before + route.path) if below else [("GET", before + route.path + "/{file}")]
        else:
            plain = getattr(route, "starlette_route", None) or route
            path = before + re.sub(r":\w+\}", "}", route.path or plain.path)
            methods = getattr(plain, "methods", None) or ["WEBSOCKET"]
            yield from ((method, path.rstrip("/") or "/") for method in set(methods) - {"HEAD", "OPTIONS"})
