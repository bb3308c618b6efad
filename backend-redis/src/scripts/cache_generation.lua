-- Reads the generation of a tag, or makes one.
-- KEYS     1 the generation, a decimal number.
-- ARGV     1 how long a new one is kept, ms; 2 the channel on which changes are published, or empty.
-- Replies  an array: the generation, and its age in µs by the clock that made it, 0 for a new one; errors WRONGTYPE and
--          NOTANUMBER.
-- One step: of several that miss it together, one makes it. A new one is the time in µs, so that a generation that
-- was evicted or flushed never comes back.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = redis.call('GET', KEYS[1])
if last then
  if #last > 16 or not string.match(last, '^%d+$') then
    return redis.error_reply('NOTANUMBER the key holds no generation')
  end
  return { tonumber(last), math.max(now - last, 0) }
end
if ARGV[2] ~= '' then
  redis.call('PUBLISH', ARGV[2], KEYS[1])
end
redis.call('SET', KEYS[1], string.format('%.0f', now), 'PX', ARGV[1])
return { now, 0 }
