-- Creates the record of this deployment's layout, or answers the one that is there.
-- KEYS[1]  the record, a hash. It has no expiry: losing it would let a service with another layout write
--          among these keys.
-- ARGV     field, value, field, value, ...
-- Replies  a flat array of the fields and values that are stored now, an empty value for a field that is not; then
--          the server's time, seconds and microseconds.
-- One step, so that of two services that start together one writes and the other compares.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then
  redis.call('HSET', KEYS[1], unpack(ARGV))
elseif kind ~= 'hash' then
  return redis.error_reply('WRONGTYPE the layout record is no hash')
end
local stored = {}
for i = 1, #ARGV, 2 do
  stored[i] = ARGV[i]
  stored[i + 1] = redis.call('HGET', KEYS[1], ARGV[i]) or ''
end
local time = redis.call('TIME')
stored[#stored + 1] = time[1]
stored[#stored + 1] = time[2]
return stored
