"""What the installed pgAdmin serves, and whom it lets in, as JSON: nobody without a sign-in but to its own sign-in pages and
files; what is for its administrators alone is told by its code. It has well over a thousand routes: of the others the first
part of the path is told alone."""

import inspect
import json
import os
import re

out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # pgAdmin prints while it is set up

from pgadmin_app import app  # noqa: E402

# Its own sign-in, and files of its pages.
OPEN = {
    "authenticate", "change", "favicon.ico", "fs-static", "kerberos", "login", "logout", "mfa", "oauth2", "reset", "static",
    "verify", "webserver",
}


def for_administrators(rule):
    view = inspect.unwrap(app.view_functions[rule.endpoint])
    return "@roles_required('Administrator')" in inspect.getsource(getattr(view, "view_class", view))


found = {}
for rule in app.url_map.iter_rules():
    top = rule.rule.split("/")[1]
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule).rstrip("/") or "/"
    for method in rule.methods - {"HEAD", "OPTIONS"}:
        if for_administrators(rule):
            found[method, path] = ["admin"]
        elif rule.rule == "/misc/ping":
            found[method, path] = ["anyone"]
        else:
            where = f"/{top}/{{path}}" if path.count("/") > 1 else path
            found[method, where] = ["anyone"] if top in OPEN else ["admin", "member", "viewer"]
told = [{"method": m, "path": p, "demands": d} for (m, p), d in sorted(found.items())]
print(json.dumps({"answers": told}), file=out, flush=True)
os._exit(0)
