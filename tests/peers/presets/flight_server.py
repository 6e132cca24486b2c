"""flight_server.py PORT: stands in for Micromegas' SQL server. It speaks Arrow Flight on loopback, answers every query
with the headers it came with, and prints the table of every bulk write."""

import sys

import pyarrow
from google.protobuf import any_pb2
from micromegas.flightsql import FlightSql_pb2
from pyarrow import flight


class Headers(flight.ServerMiddleware):
    def __init__(self, headers):
        self.headers = headers


class HeadersFactory(flight.ServerMiddlewareFactory):
    def start_call(self, info, headers):
        return Headers(headers)


class Server(flight.FlightServerBase):
    def do_get(self, context, ticket):
        headers = context.get_middleware("headers").headers
        pairs = [(name, value) for name, values in headers.items() for value in values if isinstance(value, str)]
        table = pyarrow.table({"name": [name for name, _ in pairs], "value": [value for _, value in pairs]})
        return flight.RecordBatchStream(table)

    def do_action(self, context, action):
        schema = pyarrow.schema([("answer", pyarrow.int64())]).serialize().to_pybytes()
        result = FlightSql_pb2.ActionCreatePreparedStatementResult(
            prepared_statement_handle=b"SELECT 42", dataset_schema=schema
        )
        packed = any_pb2.Any()
        packed.Pack(result)
        return [flight.Result(packed.SerializeToString())]

    def do_put(self, context, descriptor, reader, writer):
        print("written", reader.read_all().num_rows, flush=True)
        writer.write(FlightSql_pb2.DoPutUpdateResult(record_count=1).SerializeToString())


server = Server(f"grpc://127.0.0.1:{sys.argv[1]}", middleware={"headers": HeadersFactory()})
print("listening", flush=True)
server.serve()
