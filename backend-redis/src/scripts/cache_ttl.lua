-- What is left of an entry's life. Writes nothing.
-- KEYS[1]  the entry, a string.
-- ARGV     none.
-- Replies  milliseconds, -1 for an entry without an expiry, -2 for no entry; error WRONGTYPE.
-- One step, so that type and life are those of one entry.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'string' then
  return redis.error_reply('WRONGTYPE the key holds no cache entry')
end
return redis.call('PTTL', KEYS[1])
