-- Stores a session that is not there yet for anybody else: it has ended for all who read it, until it is confirmed.
--
-- KEYS     1  the session
-- ARGV     1  see session_life
--          2  by what it is confirmed
--          3  the user
--          4  for how long it can be, ms
--          5 the hash of the session that is to go on here, or empty where a new one is created
--          6… fields as they are stored, each followed by its value
-- Replies  1; 0 if there is a session or another's reservation; 2 if what had ended there was removed: once more
--
-- Atomic: nothing runs between seeing the place free and taking it.
local reserved = redis.call('HGET', KEYS[1], 'reserved')
if reserved then
  if reserved ~= ARGV[2] then return 0 end
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  return 1
end
local ends = life(redis.call('HMGET', KEYS[1], unpack(LIFE)))
if ends == false then return no_session() end
if ends then
  if ends > now then return 0 end
  -- Not in one script with the next: while the slot is being moved, a new key can't be made at the node that it leaves.
  redis.call('DEL', KEYS[1])
  return 2
end
redis.call('HSET', KEYS[1], 'user', ARGV[3], 'created', '0', 'used', '0', 'idle', '0', 'deadline', '0',
  'version', '0', 'reserved', ARGV[2])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'beside', ARGV[5]) end
-- In pieces, since Lua's stack is bounded.
for i = 6, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
