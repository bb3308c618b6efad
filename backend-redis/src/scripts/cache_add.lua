-- Adds to a counter, and gives it its time to live if it is new; voids the lease on it.
-- KEYS     1 the counter, a string holding a decimal number; 2 the lease on filling it, unless it was voided
--          before.
-- ARGV     1 what to add, 2 the time to live of a new counter in ms, 3 the channel on which changes are published, or
--          empty.
-- Replies  the new value as text (a Lua number would lose digits); errors WRONGTYPE, NOTANUMBER and OVERFLOW.
-- One step, so that there is never a counter without an expiry.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'string' then
  return redis.error_reply('WRONGTYPE the key holds no counter')
end
if ARGV[3] ~= '' then
  redis.call('PUBLISH', ARGV[3], KEYS[1])
end
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' and sum.err then
  if string.find(sum.err, 'overflow', 1, true) then
    return redis.error_reply('OVERFLOW the counter would leave the range of i64')
  elseif string.find(sum.err, 'not an integer', 1, true) then
    return redis.error_reply('NOTANUMBER the key holds something that is no number')
  end
  return sum
end
if kind == 'none' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if KEYS[2] then redis.call('DEL', KEYS[2]) end
return redis.call('GET', KEYS[1])
