-- Sets and removes fields of a session, and adds one to its version. It is a use of the session.
--
-- KEYS     1  the session
-- ARGV     1  see session_life
--          2  the version it must have, or empty
--          3  how many data fields a session may have
--          4  how many bytes there may be in their names and values
--          5  how many arguments are fields to set and their values
--          6… fields as they are stored, each followed by its value; then fields to remove
-- Replies  {"gone"}, {"between"}, {"moved", id}, {"conflict", version}, {"saved", version}, or {"large", fields, bytes} of what it would
--          hold
--
-- Atomic: nothing runs between comparing the version, adding up what the session would hold, and writing. It writes only
-- to a session that is there, so it never brings one back.
local count = tonumber(ARGV[5])
local session = redis.call('HGETALL', KEYS[1])
local values, version = life_of(session), version_of(session)
local ends = life(values)
if ends == nil and version == nil then return {'gone'} end
if not (ends and version) then return no_session() end
if ends <= now then
  if is_between(session) then return {'between'} end
  local to = successor(session)
  return to and {'moved', to} or {'gone'}
end
if ARGV[2] ~= '' and ARGV[2] ~= decimal(version) then return {'conflict', version} end
-- What only removes is let through, so that one that holds too much can be made smaller.
local fields, bytes = holding(session, 6, count)
if count > 0 and (fields > tonumber(ARGV[3]) or bytes > tonumber(ARGV[4])) then return {'large', fields, bytes} end

version = version + 1
values[1] = decimal(now)
-- First what the server refuses when it is out of memory: after any other write it would let all the rest in.
redis.call('HSET', KEYS[1], 'used', values[1], 'version', decimal(version))
change(KEYS[1], 6, count)
expire(KEYS[1], (life(values)))
return {'saved', version}
