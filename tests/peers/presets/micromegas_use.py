"""micromegas_use.py ADDRESS [KEY]: Micromegas' own client and the Flight SQL client that Grafana's data source is made of
ask the real server through a gateway, and write; what came of each, by line."""

import sys

import adbc_driver_flightsql
import adbc_driver_manager
import pyarrow
from adbc_driver_flightsql import DatabaseOptions
from micromegas.auth import StaticTokenAuthProvider
from micromegas.flightsql.client import FlightSQLClient

address, *key = sys.argv[1:]
url = f"grpc://{address}"
client = FlightSQLClient(url, auth_provider=StaticTokenAuthProvider(key[0]) if key else None)


def grafana():
    options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {key[0]}"} if key else {}
    with adbc_driver_flightsql.connect(url, options) as database:
        with adbc_driver_manager.AdbcConnection(database) as connection:
            with adbc_driver_manager.AdbcStatement(connection) as statement:
                statement.set_sql_query("SELECT 42 AS answer")
                statement.execute_query()
                return "42"


for name, call in {
    "query": lambda: client.query_arrow("SELECT 42 AS answer")["answer"].to_pylist(),
    "prepare": lambda: client.prepare_statement("SELECT 42").query,
    "denials": lambda: client.query_arrow("SELECT * FROM list_query_denials()").num_rows,
    "retire": lambda: client.query_arrow(
        "SELECT * FROM retire_partitions('blocks', 'global', '2020-01-01T00:00:00Z', '2020-01-02T00:00:00Z')"
    ).num_rows,
    "write": lambda: client.bulk_ingest("processes", pyarrow.table({"process_id": ["x"]})),
    "grafana": grafana,
}.items():
    try:
        print(name, "done", call())
    except Exception as error:
        told = str(error)
        words = [word for word in ["not found", "error ingesting"] if word in told]
        print(name, type(error).__name__, *words)
