-- Who lost a right, by the revision that it raised: users, and keys that are nobody's, by id. The newest few thousand.
CREATE TABLE lost_rights (
    revision BIGINT PRIMARY KEY,
    holder   TEXT NOT NULL
);
