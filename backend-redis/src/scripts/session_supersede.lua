-- Makes a session lead to the one that goes on in its place, which is reserved under another id.
--
-- KEYS     1  the session
-- ARGV     1  see session_life
--          2  the user, or empty
--          3  the version that it must have
--          4  the text of the id under which it goes on
--          5  for how long it leads there, ms
-- Replies  {"done"}, {"gone"}, {"conflict", version} or {"superseded", id}
--
-- Atomic: of several that rotate one session one is answered that it is done. If it is published the key stays, also where it leads
-- nowhere, until the reaper finds it.
local session = redis.call('HGETALL', KEYS[1])
local ends, version = (life((life_of(session)))), version_of(session)
if ends == nil and version == nil then return {'gone'} end
if not (ends and version) then return no_session() end
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[2] then return {'gone'} end
if ends <= now then
  local to = successor(session)
  return to and {'superseded', to} or {'gone'}
end
if decimal(version) ~= ARGV[3] then return {'conflict', version} end
local owner = redis.call('HGET', KEYS[1], 'owner')
if tonumber(ARGV[5]) == 0 and not owner then
  redis.call('DEL', KEYS[1])
  return {'done'}
end
-- Never without a field in between: while the slot is being moved, a new key can't be made at the node that it leaves.
point(KEYS[1], ARGV[4], owner and RETENTION or ARGV[5])
if owner then
  redis.call('HSET', KEYS[1], 'until', decimal(now + ARGV[5] * 1000), 'ended', 'rotated', 'at', decimal(now))
end
local NEWS, others = {owner = true, ended = true, at = true, unpublished = true}, {}
for i = 1, #session, 2 do
  if not (POINTER[session[i]] or owner and NEWS[session[i]]) then others[#others + 1] = session[i] end
end
for i = 1, #others, 1000 do
  redis.call('HDEL', KEYS[1], unpack(others, i, math.min(i + 999, #others)))
end
return {'done'}
