"""What the installed JupyterHub serves, and whom it lets in, as JSON: everybody who has an account, or its admins, by the
scopes that a route needs and that a user has on what is his own."""

import asyncio
import inspect
import json
import os
import re
import sys
import tempfile

os.chdir(tempfile.mkdtemp())
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

from jupyterhub.app import JupyterHub  # noqa: E402
from jupyterhub.scopes import _expand_self_scope  # noqa: E402
from tornado.web import RequestHandler  # noqa: E402

EVERYBODY = ["admin", "member", "viewer"]
hub = JupyterHub(log_level="ERROR")
asyncio.run(hub.initialize(["--JupyterHub.authenticator_class=dummy", "--JupyterHub.spawner_class=simple"]))
own = {scope.split("!")[0] for scope in _expand_self_scope("mark")}


def written(pattern):
    path = re.sub(r"\(\?P<(\w+)>[^()]*\)", r"{\1}", pattern.removesuffix("$"))
    while (simpler := re.sub(r"\((?:\?:)?([^()]*)\)\??", "{x}", path)) != path:
        path = simpler
    path = re.sub(r"\.\*|\}\?|\}\{x\}", lambda end: "{x}" if end[0] == ".*" else "}", path.replace("\\", ""))
    return re.sub(r"(?<!/)\{", "/{", path.replace("/?", "")).rstrip("/") or "/"


def demands(handler, method):
    text = inspect.getsource(inspect.unwrap(getattr(handler, method)))
    needed = re.findall(r"^\s*@needs_scope\(([^)]*)\)", text, re.M)
    scopes = [scope for some in needed for scope in re.findall(r"[\"']([\w:-]+)", some)]
    if scopes:
        return EVERYBODY if any(scope in own for scope in scopes) else ["admin"]
    return EVERYBODY if re.search(r"^\s*@(web\.)?authenticated|^\s*@allow_unauthenticated_never", text, re.M) else ["anyone"]


found = {}
for pattern, handler, *_ in hub.handlers:
    for method in ("get", "post", "put", "patch", "delete"):
        if getattr(handler, method) is not getattr(RequestHandler, method):
            found.setdefault((method.upper(), written(pattern)), demands(handler, method))
print(json.dumps({"answers": [{"method": m, "path": p, "demands": d} for (m, p), d in sorted(found.items())]}), file=out, flush=True)
os._exit(0)
