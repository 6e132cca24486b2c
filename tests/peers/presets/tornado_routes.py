"""The routes of a Tornado application, from its handlers."""

import re

from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler


def written(pattern):
    """A pattern as a path with placeholders."""
    path = re.sub(r"\([^()]*\)", "{x}", pattern.removesuffix("$").removesuffix("/?"))
    return path.replace("\\", "").rstrip("/") or "/"


def routes(rules):
    """Method and path of each; of a WebSocket its opening handshake."""
    for rule in rules:
        pattern, handler = rule[:2] if isinstance(rule, tuple) else (rule.matcher.regex.pattern, rule.target)
        if issubclass(handler, WebSocketHandler):
            yield "WEBSOCKET", written(pattern)
            continue
        for method in ("get", "post", "put", "patch", "delete"):
            if getattr(handler, method) is not getattr(RequestHandler, method):
                yield method.upper(), written(pattern)
