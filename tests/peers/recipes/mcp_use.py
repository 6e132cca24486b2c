"""Lists the tools and calls each with the protocol's own client. `mcp_use.py URL`; the key is in KEY."""

import asyncio
import os
import sys

import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['KEY']}"}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        streamable_http_client(sys.argv[1], http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        tools = await session.list_tools()
        print([tool.name for tool in tools.tools], flush=True)
        for name in ("greet", "forget"):
            answer = await asyncio.wait_for(session.call_tool(name, {"name": "vera"}), 20)
            print(answer.content[0].text, flush=True)


asyncio.run(main())
