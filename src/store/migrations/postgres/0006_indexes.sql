-- So that no page, command or look-up reads a whole table, however many people, keys and sessions there are.
CREATE INDEX users_name ON users (username_key);
CREATE INDEX users_role ON users (role);
CREATE INDEX sessions_created ON sessions (created_at, id);
CREATE INDEX sessions_expiry ON sessions (expires_at);
CREATE INDEX sessions_seen ON sessions (last_seen_at);
CREATE INDEX api_keys_created ON api_keys (created_at, id);
CREATE INDEX api_keys_name ON api_keys (name, created_at, id);
CREATE INDEX api_keys_expiry ON api_keys (expires_at);
CREATE INDEX api_keys_revoked ON api_keys (revoked_at);
CREATE INDEX audit_event ON audit (event, happened_at, seq);
CREATE INDEX audit_actor ON audit (actor);
CREATE INDEX audit_actor_name ON audit (actor_name) WHERE actor_name IS NOT NULL;
CREATE INDEX audit_target ON audit (target) WHERE target IS NOT NULL;
CREATE INDEX audit_target_name ON audit (target_name) WHERE target_name IS NOT NULL;
