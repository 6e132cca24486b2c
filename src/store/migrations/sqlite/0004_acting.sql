-- Whether a key's word counts on whose behalf it asks.
ALTER TABLE api_keys ADD COLUMN may_act_for_users BOOLEAN NOT NULL DEFAULT FALSE;
