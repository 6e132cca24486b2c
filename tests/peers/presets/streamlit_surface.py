"""What the installed Streamlit serves, as JSON. It asks nobody who they are."""

import json
import re
from unittest.mock import MagicMock

from starlette.routing import Mount, WebSocketRoute
from streamlit.web.server.starlette.starlette_app import create_streamlit_routes

found = []
for route in create_streamlit_routes(MagicMock()):
    path = re.sub(r":path\}", "}", route.path) or "/"
    if isinstance(route, WebSocketRoute):
        methods = ["WEBSOCKET"]
    elif isinstance(route, Mount):
        methods = ["GET"]
    else:
        methods = sorted(route.methods - {"HEAD", "OPTIONS"})
    found += [{"method": method, "path": path, "demands": ["anyone"]} for method in methods]
print(json.dumps({"answers": found}))
