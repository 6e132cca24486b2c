"""A gRPC server by grpcio: FlightService with DoPut and DoGet, unary here, on PORT. Prints each call."""

import sys
from concurrent import futures

import grpc


def answer(name):
    def call(request, context):
        print(f"called {name}", flush=True)
        return b"done"

    return grpc.unary_unary_rpc_method_handler(call)


server = grpc.server(futures.ThreadPoolExecutor(2))
handlers = {name: answer(name) for name in ("DoPut", "DoGet")}
service = grpc.method_handlers_generic_handler("arrow.flight.protocol.FlightService", handlers)
server.add_generic_rpc_handlers((service,))
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
print("ready", flush=True)
server.wait_for_termination()
