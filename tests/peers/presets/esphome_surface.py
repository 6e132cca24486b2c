"""What the installed ESPHome dashboard serves, as JSON; without a password it asks nobody who they are."""

import argparse
import json
import tempfile

from esphome.core import CORE
from esphome.dashboard.core import DASHBOARD
from esphome.dashboard.web_server import make_app
from tornado.web import RequestHandler
from tornado_routes import routes

folder = tempfile.mkdtemp()
arguments = argparse.Namespace(configuration=folder, ha_addon=False, username="", password="", verbose=False)
DASHBOARD.settings.parse_args(arguments)
router = make_app().wildcard_router
found = sorted(set(routes(router.rules)))
print(json.dumps({"answers": [{"method": m, "path": p, "demands": ["anyone"]} for m, p in found]}))
