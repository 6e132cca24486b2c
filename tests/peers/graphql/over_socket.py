"""Runs a mutation over a WebSocket (graphql-transport-ws): over_socket.py URL ID [KEY]. Prints what came of it."""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

url, id, *key = sys.argv[1:]


async def main():
    headers = {"authorization": f"Bearer {key[0]}"} if key else {}
    try:
        async with connect(url, additional_headers=headers, subprotocols=["graphql-transport-ws"], proxy=None) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            payload = {"query": f'mutation {{ drop(id: "{id}") }}'}
            await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
            print(json.loads(await socket.recv())["payload"]["data"]["drop"])
    except InvalidStatus as refused:
        print(refused.response.status_code)


asyncio.run(asyncio.wait_for(main(), 20))
