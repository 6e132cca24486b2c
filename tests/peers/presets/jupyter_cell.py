"""jupyter_cell.py URL KEY CODE: starts a kernel, runs one cell over its WebSocket and prints what the cell printed."""

import json
import sys
import uuid

import requests
import websocket

url, key, code = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.headers["authorization"] = f"Bearer {key}"

# Without a token of its own, Jupyter wants its cookie said twice.
session.get(f"{url}/lab", timeout=30)
session.headers["x-xsrftoken"] = session.cookies.get("_xsrf", "")
started = session.post(f"{url}/api/kernels", timeout=30)
if not started.ok:
    print("refused", started.status_code)
    sys.exit()
kernel = started.json()["id"]
print("kernel", kernel)

stream = websocket.create_connection(
    f"{url.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels",
    header={"authorization": f"Bearer {key}"},
    timeout=30,
)
header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "cell", "username": "", "version": "5.3"}
content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
stream.send(json.dumps({"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}))
while True:
    message = json.loads(stream.recv())
    if message["parent_header"].get("msg_id") != header["msg_id"]:
        continue
    if message["msg_type"] == "stream":
        print("printed", message["content"]["text"].strip())
    # What a cell prints comes before this; the reply comes by another channel, in its own time.
    if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
        break
stream.close()
