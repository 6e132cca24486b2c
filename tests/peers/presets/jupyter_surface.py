"""What the installed JupyterLab serves, and whether it asks who is there, as JSON.

Jupyter has one user, who may do everything; a pattern's groups are told as {x}.
"""

import inspect
import json
import os
import re
import sys
import tempfile

folder = tempfile.TemporaryDirectory()
for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
    os.environ[name] = folder.name

from jupyter_server.base.handlers import JupyterHandler, PublicStaticFileHandler  # noqa: E402
from jupyterlab.labapp import LabApp  # noqa: E402
from tornado.web import RequestHandler  # noqa: E402
from tornado.websocket import WebSocketHandler  # noqa: E402

EVERYBODY = ["admin", "member", "viewer"]


def written(pattern):
    """A pattern as a path with placeholders."""
    path = re.sub(r"\(\?P<mode>(\w+)[^()]*\)", r"\1", pattern.removesuffix("$"))
    while (simpler := re.sub(r"\((?:\?:|\?P<\w+>)?[^()]*\)[*+?]?", "{x}", path)) != path:
        path = simpler
    path = path.replace(".*", "{x}").replace("\\", "").replace("/?", "")
    return re.sub(r"(?<!/)\{x\}", "/{x}", path) or "/"


def public(handler, method):
    functions = [getattr(handler, method), getattr(handler, "prepare")]
    open_to_all = any(getattr(function, "__allow_unauthenticated", False) for function in functions)
    return open_to_all or issubclass(handler, PublicStaticFileHandler) or not issubclass(handler, JupyterHandler)


def routes(rules):
    for rule in rules:
        if hasattr(rule.target, "rules"):
            yield from routes(rule.target.rules)
            continue
        handler = rule.target
        if not (inspect.isclass(handler) and hasattr(rule.matcher, "regex")):
            continue
        path = written(rule.matcher.regex.pattern)
        for method in ("get", "post", "put", "patch", "delete"):
            if getattr(handler, method) is getattr(RequestHandler, method):
                continue
            name = "WEBSOCKET" if issubclass(handler, WebSocketHandler) else method.upper()
            if not issubclass(handler, WebSocketHandler) or method == "get":
                yield name, path, ["anyone"] if public(handler, method) else EVERYBODY


server = LabApp.initialize_server(
    argv=["--IdentityProvider.token=", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
)
found = {}
for method, path, demands in routes(server.web_app.default_router.rules):
    found.setdefault((method, path), demands)
told = [{"method": method, "path": path, "demands": demands} for (method, path), demands in found.items()]
print(json.dumps({"answers": told}))
sys.stdout.flush()
os._exit(0)  # nothing of the server was started, but its channels
