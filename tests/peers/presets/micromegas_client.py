"""micromegas_client.py URL [KEY]: Micromegas' own client asks, prepares a statement and writes; what came of each, by line."""

import sys

import pyarrow
from micromegas.auth import StaticTokenAuthProvider
from micromegas.flightsql.client import FlightSQLClient

url, *key = sys.argv[1:]
client = FlightSQLClient(url, auth_provider=StaticTokenAuthProvider(key[0]) if key else None)


def query():
    table = client.query_arrow("SELECT 42")
    told = dict(zip(table["name"].to_pylist(), table["value"].to_pylist()))
    return " ".join(f"{name}={told.get(name)}" for name in ["x-auth-subject", "x-auth-is-admin", "authorization"])


for name, call in {
    "query": query,
    "prepare": lambda: client.prepare_statement("SELECT 42").query,
    "write": lambda: client.bulk_ingest("processes", pyarrow.table({"id": [1, 2, 3]})),
}.items():
    try:
        print(name, "done", call())
    except pyarrow.ArrowException as error:
        print(name, type(error).__name__)
