"""pgAdmin as its preset wants it, told by a header who is calling; started with a port it serves there."""

import builtins
import importlib.util
import os
import sys
import tempfile

folder = tempfile.mkdtemp()
os.environ.update(PGADMIN_SETUP_EMAIL="admin@example.com", PGADMIN_SETUP_PASSWORD="a-password", HOME=folder)
root = list(importlib.util.find_spec("pgadmin4").submodule_search_locations)[0]
os.chdir(root)
sys.path.insert(0, root)
builtins.SERVER_MODE = True

import config  # noqa: E402  (pgAdmin's own)

for name in ("LOG_FILE", "SQLITE_PATH", "SESSION_DB_PATH", "STORAGE_DIR", "AZURE_CREDENTIAL_CACHE_DIR"):
    setattr(config, name, os.path.join(folder, name))
config.DATA_DIR = folder
config.AUTHENTICATION_SOURCES = ["webserver", "internal"]
config.WEBSERVER_REMOTE_USER = "X-Auth-User"
config.WEBSERVER_REMOTE_USER_FROM_HEADER = True
config.WEBSERVER_TRUSTED_PROXIES = ["127.0.0.1"]
config.MASTER_PASSWORD_REQUIRED = False

from pgadmin import create_app  # noqa: E402

app = create_app()
if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), threaded=True)
