"""An application that believes signatures only: PyJWT checks what the gateway says of its callers.

Arguments: port, file with the issuer (the gateway's public URL), shared secret of minted tokens.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

PORT, ISSUER_FILE, SHARED = int(sys.argv[1]), sys.argv[2], sys.argv[3]
REQUIRED = {"require": ["iss", "aud", "sub", "iat", "nbf", "exp"]}
clients = {}


def verified(headers):
    with open(ISSUER_FILE, encoding="utf-8") as file:
        issuer = file.read().strip()
    keys = clients.setdefault(issuer, jwt.PyJWKClient(f"{issuer}/_doorward/jwks.json"))
    assertion = headers.get("X-Doorward-Assertion", "")
    key = keys.get_signing_key_from_jwt(assertion)
    said = jwt.decode(
        assertion, key, algorithms=["ES256"], audience="app", issuer=issuer, options=REQUIRED, leeway=5
    )
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer":
        raise jwt.InvalidTokenError("no bearer token")
    minted = jwt.decode(
        token, SHARED, algorithms=["HS256"], audience="vizier", issuer="door", options=REQUIRED, leeway=5
    )
    return {"assertion": said, "bearer": minted, "kids": [key.key_id for key in keys.get_signing_keys()]}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/ready":
            return self.answer(200, {})
        try:
            self.answer(200, verified(self.headers))
        except jwt.PyJWTError as error:
            self.answer(401, {"error": repr(error)})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
