"""What the installed Prefect server serves, as JSON; without a password of its own it asks nobody who they are."""

import json
import os
import re
import tempfile

os.environ.update(PREFECT_HOME=tempfile.mkdtemp(), PREFECT_SERVER_ANALYTICS_ENABLED="false")

from prefect.server.api.server import create_app  # noqa: E402  (after the environment)
from starlette.routing import Mount  # noqa: E402


def routes(all_routes, before=""):
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


found = sorted(set(routes(create_app(ephemeral=True).routes)))
print(json.dumps({"answers": [{"method": m, "path": p, "demands": ["anyone"]} for m, p in found]}))
