-- By which names a provider says that a sign-in is over: `sub` and `sid` of the ID token.
ALTER TABLE provider_sessions ADD COLUMN sub TEXT;
ALTER TABLE provider_sessions ADD COLUMN sid TEXT;
CREATE INDEX provider_sessions_sub ON provider_sessions (provider, issuer, sub);
CREATE INDEX provider_sessions_sid ON provider_sessions (provider, issuer, sid);

-- What providers gave along with sign-ins, by session: sealed tokens, of which an empty one is none, and the next refresh.
CREATE TABLE provider_tokens (
    session_id    TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    provider      TEXT NOT NULL,
    id_token      BLOB NOT NULL,
    refresh_token BLOB NOT NULL,
    in_use        BOOLEAN NOT NULL, -- whether the session was used since the last refresh
    due_at        BIGINT, -- of the next refresh; of one that is claimed, when it may be claimed again; NULL: there is none
    claim         TEXT, -- random, of the gateway that refreshes now
    failing_since BIGINT -- the first of the refreshes that failed since the last that did not
);
CREATE INDEX provider_tokens_due ON provider_tokens (provider, due_at) WHERE in_use;

-- Logout tokens that were acted on, by the digest of issuer and `jti`, until they are refused for their age.
CREATE TABLE used_logout_tokens (
    digest     BLOB PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_logout_tokens_expiry ON used_logout_tokens (expires_at);
