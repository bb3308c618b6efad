-- Gives a lease back without a value, and wakes those who wait for it.
-- KEYS     1 the entry; 2 the lease: the holder's token.
-- ARGV     1 the token; 2 for how many ms it is remembered that the load has failed, or empty; 3 the channel on which
--          changes are published, or empty.
-- Replies  1 if it was the token's, or 0; error WRONGTYPE.
-- One step, so that only the caller's own lease is given back. The entry stays as it was: it is touched only so that the
-- server notifies those who follow it, and that it can't be is no reason to keep the lease.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
local marked
if ARGV[2] ~= '' then
  local set = redis.pcall('SET', KEYS[2], 'failed', 'PX', ARGV[2])
  marked = not set.err
end
if not marked then
  redis.call('DEL', KEYS[2])
end
if ARGV[3] ~= '' then
  redis.pcall('PUBLISH', ARGV[3], KEYS[1])
  return 1
end
local left = redis.call('PTTL', KEYS[1])
if left > 0 then
  redis.call('PEXPIRE', KEYS[1], left)
elseif left == -2 then
  local set = redis.pcall('SET', KEYS[1], '', 'PX', 1000)
  if not set.err then
    redis.call('DEL', KEYS[1])
  end
end
return 1
