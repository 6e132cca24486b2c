// GraphQL servers that keep a record of the mutations they ran: servers.mjs NODE_MODULES NAME PORT, the record at /ran.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const [modules, name, port] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const ran = [];
const typeDefs = `
  type Query { a: String echo(text: String): String }
  type Mutation { drop(id: String): String }`;
const resolvers = {
  Query: { a: () => 'read', echo: (_, { text }) => text },
  Mutation: { drop: (_, { id }) => { ran.push(id); return 'dropped'; } },
};

async function apollo() {
  const express = require('express');
  const { ApolloServer } = require('@apollo/server');
  const { expressMiddleware } = require('@as-integrations/express5');
  const server = new ApolloServer({ typeDefs, resolvers, allowBatchedHttpRequests: true });
  await server.start();
  const app = express();
  app.use('/graphql', express.json(), expressMiddleware(server));
  app.get('/ran', (_, response) => response.json(ran));
  app.listen(Number(port), '127.0.0.1');
}

function yoga() {
  const { createSchema, createYoga } = require('graphql-yoga');
  const handler = createYoga({ schema: createSchema({ typeDefs, resolvers }), batching: true, logging: false });
  createServer((request, response) => {
    if (request.url !== '/ran') return handler(request, response);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(ran));
  }).listen(Number(port), '127.0.0.1');
}

await { apollo, yoga }[name]();
