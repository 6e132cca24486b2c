"""What the installed marimo serves, and what it would ask a token for, as JSON: of its editor, or (argument `run`) of an
app, where nobody may edit. A token makes one everybody."""

import inspect
import json
import re
import sys

from marimo._server.main import create_starlette_app
from starlette.routing import WebSocketRoute

AN_APP = "run" in sys.argv[1:]


def inside(function, seen):
    """What a handler is made of: lists and functions, below whatever is wrapped around it."""
    seen.add(function)
    for cell in getattr(function, "__closure__", None) or ():
        yield cell.cell_contents
        if inspect.isfunction(cell.cell_contents) and cell.cell_contents not in seen:
            yield from inside(cell.cell_contents, seen)


def wanted(route):
    """What `requires` of Starlette wants; some look by themselves, where a refusal is to be a page."""
    parts = [route.endpoint, *inside(route.endpoint, set())]
    scopes = {word for part in parts if isinstance(part, list) for word in part if word in ("read", "edit")}
    code = [inspect.getsource(part) for part in parts if inspect.isfunction(part)]
    by_hand = any("has_required_scope(" in text or "not validate_auth(" in text for text in code)
    return scopes or ({"read"} if by_hand else set())


def routes(all_routes, before=""):
    for route in all_routes:
        path = before + re.sub(r":path\}", "}", getattr(route, "path", ""))
        if isinstance(route, WebSocketRoute):
            yield "WEBSOCKET", path, {"edit"} if path == "/terminal/ws" else {"read"}
        elif getattr(route, "routes", None):
            yield from routes(route.routes, path)
        elif hasattr(route, "methods"):
            for method in route.methods - {"HEAD", "OPTIONS"}:
                yield method, path, wanted(route)
        else:
            yield "GET", path + "/{file}", set()


found = []
for method, path, needed in sorted(routes(create_starlette_app(base_url="").routes), key=str):
    if not (AN_APP and "edit" in needed):
        found.append({"method": method, "path": path, "demands": ["admin", "member", "viewer"] if needed else ["anyone"]})
print(json.dumps({"answers": found}))
