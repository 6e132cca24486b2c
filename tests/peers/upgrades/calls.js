// A gRPC server by @grpc/grpc-js: FlightService with DoPut and DoGet, unary here, on PORT. Prints each call.
const grpc = require('@grpc/grpc-js');
const port = process.argv[2];
const bytes = { serialize: (value) => value, deserialize: (value) => value };
const method = (name) => ({
  path: `/arrow.flight.protocol.FlightService/${name}`, requestStream: false, responseStream: false,
  requestSerialize: bytes.serialize, requestDeserialize: bytes.deserialize,
  responseSerialize: bytes.serialize, responseDeserialize: bytes.deserialize,
});
const answer = (name) => (call, callback) => { console.log(`called ${name}`); callback(null, Buffer.from('done')); };
const server = new grpc.Server();
server.addService({ DoPut: method('DoPut'), DoGet: method('DoGet') }, { DoPut: answer('DoPut'), DoGet: answer('DoGet') });
server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), () => console.log('ready'));
