-- Times are Unix seconds. Never edit a released version: its checksum is stored. Add a new one.

-- One row: grows with every change that takes a right away.
CREATE TABLE revision (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    value    BIGINT NOT NULL
);
INSERT INTO revision (only_row, value) VALUES (1, 1);

-- The revision each running gateway has seen.
CREATE TABLE gateways (
    id       TEXT PRIMARY KEY,
    revision BIGINT NOT NULL,
    seen_at  BIGINT NOT NULL
);

CREATE TABLE users (
    id                   TEXT PRIMARY KEY,
    username             TEXT NOT NULL,
    username_key         TEXT NOT NULL,
    email                TEXT,
    display_name         TEXT,
    role                 TEXT NOT NULL,
    disabled             BOOLEAN NOT NULL,
    password             TEXT, -- PHC string; NULL is no password
    must_change_password BOOLEAN NOT NULL,
    password_changed_at  BIGINT,
    created_at           BIGINT NOT NULL
);

-- What can be typed at sign-in: the comparable forms of usernames and e-mail addresses, in one name space.
CREATE TABLE login_names (
    name_key TEXT PRIMARY KEY,
    user_id  TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX login_names_user ON login_names (user_id);

CREATE TABLE user_groups (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name    TEXT NOT NULL CHECK (name <> '' AND name NOT LIKE '%,%'),
    PRIMARY KEY (user_id, name)
);

CREATE TABLE sessions (
    id           TEXT PRIMARY KEY,
    digest       BLOB NOT NULL UNIQUE,
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    client       TEXT NOT NULL,
    user_agent   TEXT NOT NULL,
    parent_id    TEXT REFERENCES sessions (id) ON DELETE CASCADE, -- opened by a hand-over from there
    host         TEXT -- the one host it counts at
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_parent ON sessions (parent_id);

-- Sessions on their way to another host, for a minute each.
CREATE TABLE handovers (
    digest     BLOB PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    browser    BLOB NOT NULL, -- digest of the cookie that the browser shows at the other host
    host       TEXT NOT NULL,
    path       TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX handovers_session ON handovers (session_id);
CREATE INDEX handovers_expiry ON handovers (expires_at);

CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY,
    digest       BLOB NOT NULL,
    name         TEXT NOT NULL,
    owner        TEXT REFERENCES users (id) ON DELETE CASCADE,
    role         TEXT NOT NULL,
    paths        TEXT NOT NULL, -- one a line, as the two below
    methods      TEXT NOT NULL,
    networks     TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT,
    revoked_at   BIGINT,
    revoked_by   TEXT
);
CREATE INDEX api_keys_owner ON api_keys (owner);

-- Failed sign-ins, by bucket.
CREATE TABLE attempts (
    name     TEXT PRIMARY KEY,
    failures BIGINT NOT NULL,
    last_at  BIGINT NOT NULL
);
CREATE INDEX attempts_last ON attempts (last_at);

-- At most one row: the link that makes the first user.
CREATE TABLE setup_token (
    only_row   BIGINT PRIMARY KEY CHECK (only_row = 1),
    digest     BLOB NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Probes of `doorward doctor`: each waits, for a minute, for what a gateway saw of one question.
CREATE TABLE doctor_probes (
    nonce_digest BLOB PRIMARY KEY,
    report       TEXT,
    expires_at   BIGINT NOT NULL
);
