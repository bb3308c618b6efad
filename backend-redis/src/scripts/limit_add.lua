-- Adds permits for a subject, beside its tiers.
--
-- KEYS     1  the subject: a hash, whose field "+" has the added permits, "permits:until"
-- ARGV     1  how many permits; 0 is a look
--          2  for how long, in ms
--          3  the most that there may be
-- Replies  {time in µs, how many there are}
--
-- Atomic: nothing runs between reading and adding. All last until the latest end that was given. The key lives for as long,
-- or as its tiers do.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local permits, life, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local there, stored_until = 0, 0
local stored = redis.call('HGET', KEYS[1], '+')
if stored then
  local count, till = string.match(stored, '^(%d+):(%d+)$')
  if not count or #count > 16 or #till > 16 then
    return redis.error_reply('WRONGTYPE The key holds no rate limit')
  end
  if tonumber(till) > now then there, stored_until = tonumber(count), tonumber(till) end
end
if permits > 0 then
  there = math.min(there + permits, most)
  local till = math.max(now + life * 1000, stored_until)
  redis.call('HSET', KEYS[1], '+', string.format('%.0f:%.0f', there, till))
  if redis.call('PTTL', KEYS[1]) < life then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life))
  end
end
return {now, there}
