"""A server of the Model Context Protocol with two tools, over streamable HTTP. `mcp_server.py PORT`"""

import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("tools")


@server.tool()
def greet(name: str) -> str:
    """Greets somebody."""
    return f"Hello {name}"


@server.tool()
def forget(name: str) -> str:
    """Forgets somebody."""
    return f"forgot {name}"


server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
