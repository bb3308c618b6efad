-- Revokes everything that was issued in a scope so far: raises its epoch.
--
-- KEYS     1  the scope's epoch
-- ARGV     1  for how long, ms
--          2  the channel on which changes are published, or empty
-- Replies  the new epoch
--
-- Atomic: of several, each gets an epoch of its own, greater than all before, and not less than the time in
-- µs: an epoch that was evicted or flushed never comes back.
local time = redis.call('TIME')
local epoch = time[1] * 1000000 + time[2]
local last = redis.call('GET', KEYS[1])
if last then
  if #last > 16 or not string.match(last, '^%d+$') then
    return redis.error_reply('NOTANUMBER The key holds no epoch')
  end
  epoch = math.max(epoch, last + 1)
end
if ARGV[2] ~= '' then
  redis.call('PUBLISH', ARGV[2], KEYS[1])
end
local left = redis.call('PTTL', KEYS[1])
if left == -1 then
  -- A floor (token_floor), which does not expire.
  redis.call('SET', KEYS[1], string.format('%.0f', epoch))
else
  local life = math.max(tonumber(ARGV[1]), left)
  redis.call('SET', KEYS[1], string.format('%.0f', epoch), 'PX', string.format('%.0f', life))
end
return epoch
