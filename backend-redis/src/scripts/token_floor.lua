-- The epoch of a service, which never expires from now on: set to the time where there is none.
--
-- KEYS     1  the service's epoch. It has no expiry: that it is missing says that the server has lost what it had.
-- ARGV     1  the channel on which changes are published, or empty
-- Replies  the epoch
--
-- Atomic: of several, one sets it and all are answered the same.
local epoch = redis.call('GET', KEYS[1])
if epoch and (#epoch > 16 or not string.match(epoch, '^%d+$')) then
  return redis.error_reply('NOTANUMBER The key holds no epoch')
end
if not epoch then
  if ARGV[1] ~= '' then
    redis.call('PUBLISH', ARGV[1], KEYS[1])
  end
  local time = redis.call('TIME')
  epoch = string.format('%.0f', time[1] * 1000000 + time[2])
  redis.call('SET', KEYS[1], epoch)
elseif redis.call('PTTL', KEYS[1]) >= 0 then
  redis.call('SET', KEYS[1], epoch)
end
return epoch
