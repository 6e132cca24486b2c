"""GraphQL servers that keep a record of the mutations they ran: servers.py NAME PORT, the record at /ran."""

import json
import sys
from typing import AsyncGenerator

name, port = sys.argv[1], int(sys.argv[2])
ran: list[str] = []


def strawberry_schema():
    import strawberry

    @strawberry.type
    class Query:
        @strawberry.field
        def a(self) -> str:
            return "read"

        @strawberry.field
        def echo(self, text: str) -> str:
            return text

    @strawberry.type
    class Mutation:
        @strawberry.mutation
        def drop(self, id: str) -> str:
            ran.append(id)
            return "dropped"

    @strawberry.type
    class Subscription:
        @strawberry.subscription
        async def tick(self) -> AsyncGenerator[int, None]:
            yield 1

    config = strawberry.schema.config.StrawberryConfig(batching_config={"max_operations": 10})
    return strawberry.Schema(Query, Mutation, Subscription, config=config)


def fastapi():
    import uvicorn
    from fastapi import FastAPI
    from strawberry.fastapi import GraphQLRouter

    app = FastAPI()
    app.include_router(GraphQLRouter(strawberry_schema(), multipart_uploads_enabled=True), prefix="/graphql")
    app.get("/ran")(lambda: ran)
    uvicorn.run(app, port=port, log_level="warning")


def aiohttp():
    """strawberry's schema behind the few lines that aiohttp's own reading of JSON takes."""
    from aiohttp import web

    schema = strawberry_schema()

    async def run(data):
        result = await schema.execute(
            data.get("query"), variable_values=data.get("variables"), operation_name=data.get("operationName")
        )
        return {"data": result.data, "errors": [str(error) for error in result.errors or []]}

    async def graphql(request):
        if request.method == "GET" and "query" in request.query:
            return web.json_response(await run({"query": request.query["query"]}))
        data = await request.json()
        return web.json_response([await run(one) for one in data] if isinstance(data, list) else await run(data))

    async def record(_):
        return web.json_response(ran)

    app = web.Application()
    app.router.add_route("*", "/graphql", graphql)
    app.router.add_get("/ran", record)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


def flask():
    """graphene behind the few lines that its documentation and many applications have."""
    import graphene
    from flask import Flask, jsonify, request

    class Query(graphene.ObjectType):
        a = graphene.String()
        echo = graphene.String(text=graphene.String())

        def resolve_a(self, info):
            return "read"

        def resolve_echo(self, info, text):
            return text

    class Drop(graphene.Mutation):
        class Arguments:
            id = graphene.String()

        Output = graphene.String

        def mutate(self, info, id):
            ran.append(id)
            return "dropped"

    class Mutation(graphene.ObjectType):
        drop = Drop.Field()

    schema = graphene.Schema(query=Query, mutation=Mutation)
    app = Flask(__name__)

    def run(data):
        variables = data.get("variables")
        if isinstance(variables, str):
            variables = json.loads(variables)
        result = schema.execute(data.get("query"), variables=variables, operation_name=data.get("operationName"))
        return {"data": result.data, "errors": [str(error) for error in result.errors or []]}

    @app.route("/graphql", methods=["GET", "POST", "PUT"])
    def graphql():
        if request.mimetype == "application/graphql":
            return jsonify(run({"query": request.get_data(as_text=True)}))
        data = request.get_json(silent=True) or request.form or request.args
        return jsonify([run(one) for one in data] if isinstance(data, list) else run(data))

    app.get("/ran")(lambda: jsonify(ran))
    app.run(port=port, threaded=True)


{"fastapi": fastapi, "aiohttp": aiohttp, "flask": flask}[name]()
