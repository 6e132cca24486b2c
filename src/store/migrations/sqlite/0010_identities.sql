-- Identities at identity providers: each belongs to one user.
CREATE TABLE identities (
    issuer        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    subject_claim TEXT NOT NULL, -- whose value the subject is
    user_id       TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider      TEXT NOT NULL, -- its name in the settings, at the last sign-in
    email         TEXT, -- verified, at the last sign-in
    created_at    BIGINT NOT NULL,
    last_login_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user ON identities (user_id);
CREATE INDEX identities_claim ON identities (issuer, subject_claim);

-- The identities by which sessions were opened. Sessions that were handed over to other hosts have none of their own.
CREATE TABLE provider_sessions (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    provider   TEXT NOT NULL,
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL
);
CREATE INDEX provider_sessions_provider ON provider_sessions (provider, session_id);
CREATE INDEX provider_sessions_identity ON provider_sessions (issuer, subject);

-- States of sign-ins at providers that were used, until they expire.
CREATE TABLE used_sign_ins (
    digest     BLOB PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_sign_ins_expiry ON used_sign_ins (expires_at);
