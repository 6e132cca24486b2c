-- The MAC of the trail's end: that it is not cut off.
ALTER TABLE audit_head ADD COLUMN mark BLOB NOT NULL DEFAULT x'';
