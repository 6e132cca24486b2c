"""What the installed Gradio serves, and whether it would ask for a sign-in of its own (`auth=`), as JSON."""

import json
import os
import re
import tempfile

os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HOME=tempfile.mkdtemp())

import gradio  # noqa: E402  (after the environment)
from gradio.routes import App  # noqa: E402


def calls(dependant):
    for dependency in dependant.dependencies:
        yield getattr(dependency.call, "__name__", "")
        yield from calls(dependency)


def routes(all_routes):
    for route in all_routes:
        if hasattr(route, "effective_candidates"):
            yield from routes(route.effective_candidates())
            continue
        original = getattr(route, "original_route", route)
        path = re.sub(r":path\}", "}", getattr(route, "path", None) or original.path)
        demands = set(calls(route.dependant)) if getattr(route, "dependant", None) else set()
        for method in original.methods - {"HEAD", "OPTIONS"}:
            yield method, path.rstrip("/") or "/", "login_check" in demands


with gradio.Blocks() as demo:
    gradio.Textbox()
found = {}
for method, path, asks in routes(App.create_app(demo).routes):
    found[method, path] = ["admin", "member", "viewer"] if asks else ["anyone"]
print(json.dumps({"answers": [{"method": m, "path": p, "demands": d} for (m, p), d in sorted(found.items())]}))
