-- Makes the generation of a tag greater.
-- KEYS     1 the generation, a decimal number.
-- ARGV     1 how long it is kept, ms; 2 the channel on which changes are published, or empty.
-- Replies  the new generation; errors WRONGTYPE and NOTANUMBER.
-- One step: of several, each gets a generation of its own, greater than all before, and not less than the time in
-- µs: one that was evicted or flushed never comes back.
local time = redis.call('TIME')
local generation = time[1] * 1000000 + time[2]
local last = redis.call('GET', KEYS[1])
if last then
  if #last > 16 or not string.match(last, '^%d+$') then
    return redis.error_reply('NOTANUMBER the key holds no generation')
  end
  generation = math.max(generation, last + 1)
end
if ARGV[2] ~= '' then
  redis.call('PUBLISH', ARGV[2], KEYS[1])
end
redis.call('SET', KEYS[1], string.format('%.0f', generation), 'PX', ARGV[1])
return generation
