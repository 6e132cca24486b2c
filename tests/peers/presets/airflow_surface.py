"""What the installed Airflow's API server serves, and which of its roles it lets in (VIEWER, OP and ADMIN of its own simple
auth manager are viewer, member and admin), as JSON. It is asked as each of them, and as nobody."""

import json
import os
import re
import subprocess
import sys
import tempfile

out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # Airflow logs to what it is given for its output
os.environ.update(
    AIRFLOW_HOME=tempfile.mkdtemp(),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
    AIRFLOW__API_AUTH__JWT_SECRET="a-secret-of-airflow-of-sixty-four-characters-at-least-0123456789",
)
airflow = os.path.join(os.path.dirname(sys.executable), "airflow")
subprocess.run([airflow, "db", "migrate"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

from airflow.api_fastapi.app import create_app, get_auth_manager  # noqa: E402  (after the environment)
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402
from starlette_routes import routes  # noqa: E402

ROLES = {"admin": "ADMIN", "member": "OP", "viewer": "VIEWER"}

app = create_app()
found = sorted(set(routes(app.routes)))
with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
    tokens = {
        role: get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role, role=word))
        for role, word in ROLES.items()
    }

    def passes(method, path, token):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        path = re.sub(r"\{(\w+)\}", lambda name: "1" if re.search("_id$|number$|index$", name[1]) else "x", path)
        body = {"json": {}} if method in ("POST", "PUT", "PATCH") else {}
        return client.request(method, path, headers=headers, **body).status_code not in (401, 403)

    told = []
    for method, path in found:
        demands = ["anyone"] if passes(method, path, None) else [r for r in ROLES if passes(method, path, tokens[r])]
        # What is switched off lets nobody in now.
        told.append({"method": method, "path": path, "demands": demands or list(ROLES)})
print(json.dumps({"answers": told}), file=out, flush=True)
os._exit(0)
