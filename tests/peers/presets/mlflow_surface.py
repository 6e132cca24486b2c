"""What the installed MLflow serves, and what its own authentication would demand, as JSON.

MLflow gives rights for each experiment and model: who may read is told as everybody, who may use, change or manage as
members. Routes below /ajax-api that stand below /api as well, with the same demand, are told once.
"""

import json
import os
import re
import sys
import tempfile
from types import ModuleType, SimpleNamespace

folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)
os.environ.update(
    HOME=folder.name,
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_TRACKING_URI=f"sqlite:///{folder.name}/mlflow.db",
    MLFLOW_FLASK_SERVER_SECRET_KEY="not used",
)
# Its authentication wants Flask-WTF for a form that is not looked at here.
forms = ModuleType("flask_wtf.csrf")
forms.CSRFProtect = object
sys.modules["flask_wtf"] = ModuleType("flask_wtf")
sys.modules["flask_wtf.csrf"] = forms

from mlflow.server import app, auth  # noqa: E402  (after the environment)
from mlflow.server.fastapi_app import create_fastapi_app  # noqa: E402

EVERYBODY = ["admin", "member", "viewer"]
MEMBERS = ["admin", "member"]
# What may be done, by the word behind `validate_can_`.
READS = {"read", "search", "list", "view", "query", "batch", "get"}
CHANGES = set("create update delete manage add remove attach detach set log link start register use invoke review".split())


def sample(path):
    return re.sub(r"\{[^}]*\}", "none", path)


def demand(method, path, validator):
    """Whom a validator lets in, by its name."""
    path = sample(path)
    if auth.is_unprotected_route(path):
        return ["anyone"]
    if validator is None:
        # Filtered by what one may read, or left to a handler that looks whose it is.
        return EVERYBODY if method == "GET" or "search" in path or path == "/graphql" else MEMBERS
    name = validator.__qualname__.strip("_").split(".")[0]
    if name == "sender_is_admin":
        return ["admin"]
    if name in ("allow_authenticated", "get_require_authentication_validator", "validate_gateway_proxy"):
        return EVERYBODY
    if name == "validate_is_job_owner" or name.endswith("_validator"):
        # One's own jobs; artifacts, MCP servers, models behind the gateway and traces, by the method.
        return EVERYBODY if method == "GET" or path.endswith("/jobs/search") else MEMBERS
    verb = name.removeprefix("validate_can_").split("_")[0]
    if verb in CHANGES or "get_or_create" in name:
        return MEMBERS
    assert verb in READS, f"what does {name} demand for {method} {path}?"
    return EVERYBODY


def native(routes):
    for route in routes:
        if hasattr(route, "effective_candidates"):
            yield from native(route.effective_candidates())
        elif methods := getattr(getattr(route, "original_route", route), "methods", None):
            for method in methods:
                path = re.sub(r":path\}", "}", getattr(route, "path", None) or route.original_route.path)
                yield method, path, auth._find_fastapi_validator(sample(path), method)


def flask():
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in rule.methods:
            validator = auth._find_validator(SimpleNamespace(path=sample(path), method=method))
            if validator is None and auth._is_proxy_artifact_path(sample(path)):
                validator = auth._get_proxy_artifact_validator(method, {"artifact_path": "none"})
            yield method, path, validator


answers = {}
for method, path, validator in [*native(create_fastapi_app(app).routes), *flask()]:
    if method not in ("HEAD", "OPTIONS"):
        answers.setdefault((method, path), demand(method, path, validator))
for method, path in list(answers):
    twin = path.replace("/ajax-api/", "/api/", 1)
    if twin != path and answers.get((method, twin)) == answers[method, path]:
        del answers[method, path]
told = [{"method": method, "path": path, "demands": demands} for (method, path), demands in answers.items()]
json.dump({"answers": told}, sys.stdout)
