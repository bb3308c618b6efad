-- Reads an entry and what is left of its life. Writes nothing.
-- KEYS     1 the entry, a string.
-- ARGV     none.
-- Replies  nil for no entry, or an array of the bytes and the milliseconds, -1 for an entry without an expiry; error
--          WRONGTYPE.
-- One step, so that value and life are those of one entry.
local value = redis.call('GET', KEYS[1])
if not value then
  return false
end
return { value, redis.call('PTTL', KEYS[1]) }
