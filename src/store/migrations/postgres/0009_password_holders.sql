-- The decoy of a name is drawn by the end of the id, which is random.
CREATE INDEX users_password_holders ON users (substr(id, 29), id) WHERE password IS NOT NULL AND NOT disabled;
