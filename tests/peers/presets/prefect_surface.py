"""What the installed Prefect server serves, as JSON; without a password of its own it asks nobody who they are."""

import json
import os
import tempfile

os.environ.update(PREFECT_HOME=tempfile.mkdtemp(), PREFECT_SERVER_ANALYTICS_ENABLED="false")

from prefect.server.api.server import create_app  # noqa: E402  (after the environment)
from starlette_routes import routes  # noqa: E402

found = sorted(set(routes(create_app(ephemeral=True).routes)))
print(json.dumps({"answers": [{"method": m, "path": p, "demands": ["anyone"]} for m, p in found]}))
