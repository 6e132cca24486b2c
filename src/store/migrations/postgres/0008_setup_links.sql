-- Links that let somebody in for the first time, each once: the first admin, or a user who has no password yet.
CREATE TABLE setup_links (
    digest     BYTEA PRIMARY KEY,
    user_id    TEXT REFERENCES users (id) ON DELETE CASCADE, -- NULL makes the first admin
    expires_at BIGINT NOT NULL
);
INSERT INTO setup_links (digest, expires_at) SELECT digest, expires_at FROM setup_token;
DROP TABLE setup_token;
