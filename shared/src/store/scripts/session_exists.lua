-- Whether a session is there. Both keys must say so: what revokes all goes by the set, so a session
-- that the set has lost (evicted, expired) could not be revoked any more and counts as over.
-- KEYS: the session's hash, the user's set of sessions; ARGV: session id
return redis.call('EXISTS', KEYS[1]) == 1 and redis.call('ZSCORE', KEYS[2], ARGV[1]) and 1 or 0
