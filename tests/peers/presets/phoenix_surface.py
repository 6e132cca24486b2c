"""What the installed Phoenix serves, and whom it lets in with its own authentication on, as JSON.

Each route and each GraphQL operation is told three times: what its dependencies and permission classes demand, a
request for it, and whether Phoenix, running in this process, let an admin, a member and a viewer through with it.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
from datetime import timedelta

folder = tempfile.TemporaryDirectory()
os.environ.update(
    PHOENIX_TELEMETRY_ENABLED="false",
    PHOENIX_WORKING_DIR=folder.name,
    PHOENIX_ALLOW_EXTERNAL_RESOURCES="false",
    PHOENIX_DISABLE_RATE_LIMIT="true",
    HTTPS_PROXY="http://127.0.0.1:9",  # whatever a provider would be asked ends here
    HTTP_PROXY="http://127.0.0.1:9",
)

import graphql  # noqa: E402  (after the environment)
import httpx  # noqa: E402
from fastapi.routing import _IncludedRouter  # noqa: E402
from grpc.aio import _server  # noqa: E402
from phoenix.db.engines import create_engine  # noqa: E402
from phoenix.server.api.schema import build_graphql_schema  # noqa: E402
from phoenix.server.app import _db, create_app  # noqa: E402
from phoenix.server.types import DbSessionFactory  # noqa: E402
from pydantic import SecretStr  # noqa: E402
from starlette.routing import Mount, WebSocketRoute  # noqa: E402

# As in phoenix_loopback.py.
bind = _server.Server.add_insecure_port
_server.Server.add_insecure_port = lambda self, address: bind(self, address.replace("[::]", "127.0.0.1"))

PASSWORD = "Seven-quiet-herons-1"
EVERYBODY = ["admin", "member", "viewer"]


def calls(dependant):
    for dependency in dependant.dependencies:
        yield getattr(dependency.call, "__name__", type(dependency.call).__name__)
        yield from calls(dependency)


def routes(all_routes):
    """(method, path, whom the dependencies let in) of each."""
    for route in all_routes:
        if isinstance(route, _IncludedRouter):
            yield from routes(route.effective_candidates())
            continue
        original = getattr(route, "original_route", route)
        if isinstance(original, Mount):
            # MCP has a guard of its own around it; the pages have none.
            yield "POST" if original.path else "GET", original.path or "/", EVERYBODY if original.path else ["anyone"]
            continue
        path = getattr(route, "path", None) or original.path
        dependant = getattr(route, "dependant", None)
        demands = set(calls(dependant)) if dependant else set()
        if isinstance(original, WebSocketRoute) or not getattr(original, "methods", None):
            yield "WEBSOCKET", path, EVERYBODY
            continue
        for method in sorted(original.methods - {"HEAD"}):
            if "is_authenticated" not in demands:
                allowed = ["anyone"]
            elif "require_admin" in demands:
                allowed = ["admin"]
            elif "restrict_access_by_viewers" in demands and method != "GET":
                allowed = ["admin", "member"]
            else:
                allowed = EVERYBODY
            yield method, path, allowed


# Fields without which an input is refused before anybody's rights are looked at.
WANTED = {"cronExpression": '"0 0 * * 0"', "label": '"none"', "password": '"Seven-quiet-herons-1"', "newUsername": '"none"'}


def literal(kind):
    """A value of this input type that names nothing there is."""
    if isinstance(kind, graphql.GraphQLNonNull):
        return literal(kind.of_type)
    if isinstance(kind, graphql.GraphQLList):
        return f"[{literal(kind.of_type)}]"
    if isinstance(kind, graphql.GraphQLEnumType):
        return next(iter(kind.values))
    if isinstance(kind, graphql.GraphQLInputObjectType):
        given = {
            name: field
            for name, field in kind.fields.items()
            if isinstance(field.type, graphql.GraphQLNonNull) and field.default_value is graphql.Undefined
            or name in WANTED
        }
        if getattr(kind.extensions["strawberry-definition"], "is_one_of", False):
            given = dict([next(iter(kind.fields.items()))])
        inside = (f"{name}: {WANTED.get(name) or literal(field.type)}" for name, field in given.items())
        return "{" + ", ".join(inside) + "}"
    return {
        "Int": "0", "Float": "0", "Boolean": "false", "JSON": "{}", "ID": '"Tm9uZToxMA=="',
        "DateTime": '"2026-01-01T00:00:00Z"',
    }.get(kind.name, '"none"')  # fmt: skip


def document(operation, name, field):
    """A document that selects this root field and nothing that matters."""
    needed = [
        f"{argument}: {literal(given.type)}"
        for argument, given in field.args.items()
        if isinstance(given.type, graphql.GraphQLNonNull) and given.default_value is graphql.Undefined
    ]
    arguments = f"({', '.join(needed)})" if needed else ""
    selection = "" if isinstance(graphql.get_named_type(field.type), (graphql.GraphQLScalarType, graphql.GraphQLEnumType)) else " { __typename }"
    return f"{operation} {{ {name}{arguments}{selection} }}"


def permissions(field):
    definition = field.extensions.get("strawberry-definition")
    return {permission.__name__ for permission in (definition.permission_classes if definition else [])}


def operations(schema):
    """(kind, root field, whom its permission classes let in, a document)."""
    for kind in ("query", "mutation", "subscription"):
        root = schema._schema.get_root_type(graphql.OperationType(kind))
        for name, field in root.fields.items():
            demands = permissions(field)
            if demands & {"IsAdmin", "IsAdminIfAuthEnabled"}:
                allowed = ["admin"]
            elif "IsNotViewer" in demands:
                allowed = ["admin", "member"]
            else:
                allowed = EVERYBODY
            yield kind, name, allowed, document(kind, name, field)


def nested(schema):
    """Fields below the root that have permission classes, by their types; and what is reached by them."""
    roots = {"Query", "Mutation", "Subscription"}
    for kind in schema._schema.type_map.values():
        if isinstance(kind, graphql.GraphQLObjectType) and kind.name not in roots:
            for name, field in kind.fields.items():
                if demands := permissions(field):
                    yield f"{kind.name}.{name}", sorted(demands)


def ways(schema, wanted):
    """Names of the fields, at any depth, whose type is one of these or a connection of it."""
    wanted = {name for kind in wanted for name in (kind, f"{kind}Connection", f"{kind}Edge")}
    for kind in schema._schema.type_map.values():
        if isinstance(kind, graphql.GraphQLObjectType) and kind.name not in wanted:
            for name, field in kind.fields.items():
                if graphql.get_named_type(field.type).name in wanted:
                    yield name


# None of its WebSocket's protocols is on; its own sign-in ends the sessions that are used here; MCP takes other tokens.
UNTRIED = ("/auth/", "/oauth2/", "/mcp")
REFUSALS = ("Only admin can perform this action", "Viewers cannot perform this action")


async def token(client, email, password):
    answer = await client.post("/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 204, answer.text
    return {"authorization": f"Bearer {answer.cookies['phoenix-access-token']}"}


async def passes(client, headers, method, path, document):
    if method == "WEBSOCKET" or path.startswith(UNTRIED):
        return None
    if document:
        async with asyncio.timeout(20):
            # Subscriptions are answered in parts.
            accept = "multipart/mixed;subscriptionSpec=1.0" if method == "subscription" else "application/json"
            answer = await client.post(path, json={"query": document}, headers=headers | {"accept": accept})
        return answer.status_code not in (401, 403) and not any(text in answer.text for text in REFUSALS)
    async with asyncio.timeout(20):
        answer = await client.request(method, re.sub(r"\{.*?\}", "none", path), headers=headers)
    return answer.status_code not in (401, 403)


async def main():
    engine = create_engine(f"sqlite:///{folder.name}/phoenix.db", log_migrations=False)
    app = create_app(
        db=DbSessionFactory(db=_db(engine), dialect=engine.dialect.name),
        authentication_enabled=True,
        secret=SecretStr("a-secret-of-32-characters-or-more-1"),
        access_token_expiry=timedelta(hours=1),
        refresh_token_expiry=timedelta(hours=1),
        grpc_port=0,
    )
    schema = build_graphql_schema([])
    requests = [(method, path, allowed, None, path) for method, path, allowed in routes(app.routes)]
    requests += [(kind, name, allowed, text, "/graphql") for kind, name, allowed, text in operations(schema)]
    answers = []
    async with app.router.lifespan_context(app) as state:

        async def served(scope, receive, send):
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(app=served, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            roles = {"admin": await token(client, "admin@localhost", "admin")}
            client.cookies.clear()
            for role in ("member", "viewer"):
                user = {"auth_method": "LOCAL", "email": f"{role}@example.com", "username": role, "password": PASSWORD}
                made = await client.post(
                    "/v1/users",
                    headers=roles["admin"],
                    json={"user": user | {"role": role.upper()}, "send_welcome_email": False},
                )
                assert made.status_code == 201, made.text
                roles[role] = await token(client, f"{role}@example.com", PASSWORD)
                client.cookies.clear()
            for method, name, allowed, text, path in requests:
                seen = []
                for role in reversed(roles):
                    if await passes(client, roles[role], method, path, text) is not False:
                        seen.insert(0, role)
                answers.append(
                    {"method": method, "path": name, "demands": allowed, "seen": seen, "document": text}
                )
    hidden = dict(nested(schema))
    types = {name.partition(".")[0] for name in hidden}
    json.dump(
        {"answers": answers, "nested": hidden, "ways": sorted(set(ways(schema, types)) | types)},
        sys.stdout,
        indent=1,
    )


asyncio.run(main())
