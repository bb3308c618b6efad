-- Stores a loaded value if the lease on filling it is still live, and gives the lease back.
-- KEYS     1 the entry, a string; 2 the lease: the holder's token.
-- ARGV     1 the token; 2 the bytes; 3 the time to live in ms; 4 the channel on which changes are published, or empty.
-- Replies  1 if it was stored, 0 if the lease was voided, ran out, or was never the token's; error WRONGTYPE.
-- One step: nothing is written between comparing the token and storing.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'string' then
  return redis.error_reply('WRONGTYPE the key holds no cache entry')
end
if ARGV[4] ~= '' then
  redis.call('PUBLISH', ARGV[4], KEYS[1])
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
