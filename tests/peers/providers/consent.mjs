// The part of a Hydra that people see: consent.mjs PORT ADMIN_URL PEOPLE. Signs in whoever `login_hint` names, without a password,
// and agrees to everything in their place; who is not in PEOPLE, a JSON object of claims by name, is refused.
import { createServer } from 'node:http';

const [port, admin, given] = process.argv.slice(2);
const people = JSON.parse(given);

async function ask(method, kind, step, challenge, body) {
  const address = `${admin}/admin/oauth2/auth/requests/${kind}${step}?${kind}_challenge=${encodeURIComponent(challenge)}`;
  const answer = await fetch(address, { method, headers: { 'content-type': 'application/json' }, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${kind}${step}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

const steps = {
  login(challenge, { skip, subject, oidc_context }) {
    const person = skip ? subject : oidc_context?.login_hint;
    if (!people[person]) {
      return ask('PUT', 'login', '/reject', challenge, { error: 'access_denied', error_description: 'not you' });
    }
    return ask('PUT', 'login', '/accept', challenge, { subject: person, remember: true, remember_for: 3600 });
  },
  consent(challenge, { subject, requested_scope }) {
    const session = { id_token: people[subject] };
    return ask('PUT', 'consent', '/accept', challenge, { grant_scope: requested_scope, session });
  },
  logout: (challenge) => ask('PUT', 'logout', '/accept', challenge, {}),
};

createServer(async (request, response) => {
  try {
    const url = new URL(request.url, 'http://localhost');
    const kind = url.pathname.slice(1);
    if (kind === 'ready') return response.end();
    const challenge = url.searchParams.get(`${kind}_challenge`);
    const { redirect_to } = await steps[kind](challenge, await ask('GET', kind, '', challenge));
    response.writeHead(302, { location: redirect_to, 'cache-control': 'no-store' }).end();
  } catch (error) {
    response.writeHead(500).end(String(error.stack));
  }
}).listen(Number(port), '127.0.0.1');
