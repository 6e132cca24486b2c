// A certified OpenID provider that signs in whoever `login_hint` names, or whose name is pressed on its page: provider.mjs NODE_MODULES PORT CLIENTS, where CLIENTS is a
// JSON list of its clients. Whoever is called "nobody" is refused. `POST /people/NAME` changes claims; what it says holds for `SECONDS`, if that is set.
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';

const [modules, port, clients] = process.argv.slice(2);
const { Provider } = await import(`${modules}/oidc-provider/lib/index.js`);
const issuer = `http://127.0.0.1:${port}`;
const people = {
  ann: { email: 'ann@example.test', email_verified: true, name: 'Ann', groups: ['ops', 'Platform Team'] },
  dora: { email: 'dora@example.test', email_verified: true, groups: ['dev'] },
  bob: { email: 'bob@example.test', email_verified: false },
};

const jwk = (kid, alg, pair) => ({ ...pair.privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' });
const keys = [
  jwk('rsa', 'RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })),
  jwk('ec', 'ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })),
  jwk('ed', 'EdDSA', generateKeyPairSync('ed25519')),
];

const provider = new Provider(issuer, {
  clients: JSON.parse(clients),
  jwks: { keys },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
  scopes: ['openid', 'email', 'profile', 'groups'],
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId, ...people[accountId] }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    jwtUserinfo: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (context, form) => {
        context.body = `<h1>Sign out?</h1>${form}<button form="op.logoutForm" name="logout" value="yes">Yes, sign me out</button>`;
      },
      postLogoutSuccessSource: (context) => { context.body = '<h1>Signed out at the provider</h1>'; },
    },
  },
  // It calls no loopback addresses otherwise.
  fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
  ...(process.env.SECONDS && { ttl: { AccessToken: Number(process.env.SECONDS) } }),
  enabledJWA: {
    idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'],
    userinfoSigningAlgValues: ['RS256', 'ES256', 'EdDSA'],
    clientAuthSigningAlgValues: ['RS256', 'ES256', 'EdDSA'],
  },
  pkce: { required: () => true },
  cookies: { keys: ['a key for tests'] },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
});

// Agrees to everything in the place of the person.
async function interaction(request, response) {
  const { prompt, params, grantId } = await provider.interactionDetails(request, response);
  const accountId = params.login_hint ?? new URL(request.url, issuer).searchParams.get('as');
  if (!accountId) {
    const links = [...Object.keys(people), 'nobody'].map((name) => `<li><a href="${request.url}?as=${name}">${name}</a></li>`);
    return response.writeHead(200, { 'content-type': 'text/html' }).end(`<h1>Who are you?</h1><ul>${links.join('')}</ul>`);
  }
  if (accountId === 'nobody') {
    const result = { error: 'access_denied', error_description: 'not you' };
    return provider.interactionFinished(request, response, result);
  }
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  grant.addOIDCClaims(prompt.details.missingOIDCClaims ?? []);
  const result = { login: { accountId }, consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

const answer = provider.callback();
createServer(async (request, response) => {
  if (request.url.startsWith('/people/')) {
    const parts = [];
    for await (const part of request) parts.push(part);
    Object.assign(people[request.url.slice('/people/'.length)], JSON.parse(Buffer.concat(parts)));
    return response.writeHead(204).end();
  }
  if (!request.url.startsWith('/interaction/')) return answer(request, response);
  interaction(request, response).catch((error) => response.writeHead(500).end(String(error.stack)));
}).listen(Number(port), '127.0.0.1');
