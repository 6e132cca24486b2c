"""What the installed Flower serves, as JSON; without `--auth` it asks nobody who they are."""

import json

from flower.urls import handlers
from tornado_routes import routes

# The last one answers what nobody else does.
found = sorted(set(routes(handlers[:-1])))
print(json.dumps({"answers": [{"method": m, "path": p, "demands": ["anyone"]} for m, p in found]}))
