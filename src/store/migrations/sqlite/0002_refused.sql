-- What would have been refused where rules only log it, counted by what it has in common.
CREATE TABLE refused (
    route      TEXT NOT NULL,
    rule       TEXT NOT NULL,
    code       TEXT NOT NULL,
    credential TEXT NOT NULL,
    client     TEXT NOT NULL,
    agent      TEXT NOT NULL,
    method     TEXT NOT NULL,
    times      BIGINT NOT NULL,
    first_at   BIGINT NOT NULL,
    last_at    BIGINT NOT NULL,
    example    TEXT NOT NULL,
    PRIMARY KEY (route, rule, code, credential, client, agent, method)
);
CREATE INDEX refused_last ON refused (last_at);
