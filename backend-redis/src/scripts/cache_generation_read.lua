-- Reads one copy of the generation of a tag, on a Cluster, where there are three of each.
-- KEYS     1 the copy, a decimal number.
-- ARGV     none.
-- Replies  an array: the generation, 0 if there is none, and the server's time in µs; errors WRONGTYPE and NOTANUMBER.
-- One step, so that the time is that of the read: the age of a generation follows from it.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = redis.call('GET', KEYS[1])
if not last then
  return { 0, now }
end
if #last > 16 or not string.match(last, '^%d+$') then
  return redis.error_reply('NOTANUMBER the key holds no generation')
end
return { tonumber(last), now }
