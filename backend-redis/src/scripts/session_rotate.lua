-- Gives a session another id, and changes it in the same step. It is a use of the session.
--
-- KEYS     1  the session
--          2  the session under its new id
--          3  the user's index: a sorted set of session hashes, scored by time of creation; none for an anonymous session
--          4  the bucket's set of expiries; likewise
--          5  its outbox; likewise
-- ARGV     1  see session_life
--          2  the hash with which KEYS[1] ends
--          3  the hash with which KEYS[2] ends
--          4  the new id, as text
--          5  the user, or empty
--          6  for how long the old id leads to the new one, ms
--          7  the version it must have, or empty
--          8  how many data fields a session may have
--          9  how many bytes there may be in their names and values
--          10 how many arguments are fields to set and their values
--          11… fields as they are stored, each followed by its value; then fields to remove
-- Replies  {"gone"}, {"between"}, {"superseded", id}, {"conflict", version}, {"taken"}, {"large", fields, bytes}, or {"rotated", time in
--          µs, {field, value, …}}
--
-- Atomic: of several that rotate one session one finds it, and the others find where it has gone. It keeps its score in the
-- index, so that it stays in its place, and is neither counted twice nor missing at any moment. If it is published, so is this.
local count = tonumber(ARGV[10])
local session = redis.call('HGETALL', KEYS[1])
local values, version = life_of(session), version_of(session)
local ends = life(values)
if ends == nil and version == nil then return {'gone'} end
if not (ends and version) then return no_session() end
local user
for i = 1, #session, 2 do
  if session[i] == 'user' then user = session[i + 1] end
end
if user ~= ARGV[5] then return {'gone'} end
if ends <= now then
  if is_between(session) then return {'between'} end
  local to = successor(session)
  return to and {'superseded', to} or {'gone'}
end
if redis.call('HGET', KEYS[2], 'user') then return {'taken'} end
if ARGV[7] ~= '' and ARGV[7] ~= decimal(version) then return {'conflict', version} end
local fields, bytes = holding(session, 11, count)
if count > 0 and (fields > tonumber(ARGV[8]) or bytes > tonumber(ARGV[9])) then return {'large', fields, bytes} end
local score = KEYS[3] and redis.call('ZSCORE', KEYS[3], ARGV[2])
local owner = KEYS[3] and redis.call('HGET', KEYS[1], 'owner')
if owner then check(KEYS[4], KEYS[5]) end

values[1] = decimal(now)
-- First what the server refuses when it is out of memory: after any other write it would let all the rest in.
redis.call('HSET', KEYS[1], 'used', values[1], 'version', decimal(version + 1))
redis.call('RENAME', KEYS[1], KEYS[2])
if KEYS[3] then
  redis.call('ZADD', KEYS[3], score or values[4], ARGV[3])
  redis.call('ZREM', KEYS[3], ARGV[2])
  local needed = math.ceil((number(values[3]) - now) / 1000)
  if redis.call('PTTL', KEYS[3]) < needed then redis.call('PEXPIRE', KEYS[3], decimal(needed)) end
end
change(KEYS[2], 11, count)
ends = life(values)
expire(KEYS[2], ends)
if owner then
  -- The new one first, so that the set is never without a member, and keeps its expiry.
  expect(KEYS[4], ARGV[3], owner, ends, math.ceil((number(values[3]) - now) / 1000))
  end_now(KEYS[2], KEYS[4], KEYS[5], 'rotated', ARGV[2], owner, ARGV[4])
  redis.call('HDEL', KEYS[2], 'unpublished')
end
if tonumber(ARGV[6]) > 0 then
  redis.call('HSET', KEYS[1], 'user', user)
  point(KEYS[1], ARGV[4], ARGV[6])
end
return {'rotated', now, redis.call('HGETALL', KEYS[2])}
