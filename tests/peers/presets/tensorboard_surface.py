"""What the installed TensorBoard serves, as JSON. It asks nobody who they are, and its routes look at no method."""

import json
import re
import tempfile

from tensorboard import default, program
from tensorboard.backend import application

board = program.TensorBoard(default.get_plugins())
board.configure(argv=["tensorboard", "--load_fast=false", "--logdir", tempfile.mkdtemp()])
ingester = board._make_data_ingester()
app = application.TensorBoardWSGIApp(
    board.flags, board.plugin_loaders, ingester.data_provider, board.assets_zip_provider, ingester.deprecated_multiplexer
)
paths = {path.rstrip("/") or "/" for path in app.exact_routes} | {f"{path}{{file}}" for path in app.prefix_routes}
# Files of its pages.
paths = {re.sub("^/(font-roboto|tf-imports)(/.*)?$", r"/\1/{file}", path) for path in paths}
found = [(method, path) for path in sorted(paths) for method in ("GET", "POST") if method == "GET" or "/data/" in path]
print(json.dumps({"answers": [{"method": m, "path": p, "demands": ["anyone"]} for m, p in found]}))
