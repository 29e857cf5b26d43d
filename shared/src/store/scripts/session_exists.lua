-- Whether a session is there.
-- ARGV: session id
return read(ARGV[1]) and 1 or 0
