"""What the installed Dagster webserver serves, and its GraphQL operations, as JSON; it asks nobody who they are."""

import json
import os
import re
import tempfile

os.environ["DAGSTER_HOME"] = tempfile.mkdtemp()

from dagster import DagsterInstance  # noqa: E402  (after the environment)
from dagster._core.workspace.context import WorkspaceProcessContext  # noqa: E402
from dagster._core.workspace.load_target import EmptyWorkspaceTarget  # noqa: E402
from dagster_graphql.schema import create_schema  # noqa: E402
from dagster_webserver.webserver import DagsterWebserver  # noqa: E402
from starlette.routing import Mount, WebSocketRoute  # noqa: E402


def routes(app):
    for route in app.routes:
        path = re.sub(r":\w+\}", "}", route.path)
        if isinstance(route, WebSocketRoute):
            yield "WEBSOCKET", path
        elif isinstance(route, Mount):
            yield "GET", path + "/{file}"
        else:
            yield from ((method, path) for method in sorted(route.methods - {"HEAD", "OPTIONS"}))


found = []
with DagsterInstance.get() as instance, WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:
    found += [(method, path, None) for method, path in routes(DagsterWebserver(context).create_asgi_app())]
schema = create_schema().graphql_schema
for kind in ("query", "mutation", "subscription"):
    found += [(kind, field, f"{kind} {{ {field} }}") for field in sorted(getattr(schema, f"{kind}_type").fields)]
told = [{"method": m, "path": p, "demands": ["anyone"], "document": document} for m, p, document in found]
print(json.dumps({"answers": told}))
