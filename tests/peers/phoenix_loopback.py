"""`phoenix serve` that listens on loopback only.

Phoenix binds its OTLP/gRPC port to every interface whatever PHOENIX_HOST says; nothing else is changed.
"""

import sys

from grpc.aio import _server

bind = _server.Server.add_insecure_port
_server.Server.add_insecure_port = lambda self, address: bind(self, address.replace("[::]", "127.0.0.1"))

from phoenix.server.main import main  # noqa: E402  (after the patch)

sys.argv = ["phoenix", "serve"]
main()
