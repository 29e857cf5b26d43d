-- Undoes a rotation whose successor was not handed out, unless the session has changed since.
-- ARGV: session id, the rotation's counter and rotated_at, then the previous rotated_at and expires_at
local session = read(KEYS[1], ARGV[1])
if not session or session.counter ~= tonumber(ARGV[2]) or session.rotated_at ~= tonumber(ARGV[3]) then return 0 end
session.counter, session.rotated_at, session.expires_at = ARGV[2] - 1, tonumber(ARGV[4]), tonumber(ARGV[5])
write(KEYS[1], ARGV[1], session)
return 1
