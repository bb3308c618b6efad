-- Presents a refresh token, and puts its successor in its place if it is the family's current one.
--
-- KEYS     1  the family
-- ARGV     1  the hash of the token
--          2  the hash of its successor
--          3  the salt of the successor, another for each attempt
--          4  the grace, ms
--          5  the idle time, ms
--          6  for how long the end of a family is kept for a second call of the attempt that has ended it, ms
-- Replies  {"gone"}; {"rotated", ms left, data}; {"repeated", ms left, data, salt}; {"reused", 0, data}
--
-- Atomic: of several that present the current token one finds it current; the others find it rotated. A second call with the
-- same salt is answered as the first was. It writes only to a family that is there, so it never brings one back.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local family = redis.call('HMGET', KEYS[1], 'current', 'data', 'until', 'last', 'salt', 'at', 'ended')
local current, data, deadline, last, salt, at, ended = unpack(family, 1, 7)

local function number(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

if ended then
  if ended == ARGV[3] and data then return {'reused', 0, data} end
  return {'gone'}
end
if not (current or data or deadline) then return {'gone'} end
deadline = number(deadline)
if last then at = number(at) end
if not (current and data and deadline) or (last and not (salt and at)) then
  return redis.error_reply('WRONGTYPE The key holds no family of refresh tokens')
end
local left = math.ceil((deadline - now) / 1000)
if left <= 0 then return {'gone'} end

if ARGV[1] == current then
  redis.call('HSET', KEYS[1], 'current', ARGV[2], 'last', ARGV[1], 'salt', ARGV[3], 'at', string.format('%.0f', now))
  left = math.min(tonumber(ARGV[5]), left)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', left))
  return {'rotated', left, data}
end
if ARGV[1] == last then
  local kept = math.min(redis.call('PTTL', KEYS[1]), left)
  if salt == ARGV[3] then return {'rotated', kept, data} end
  -- Also where the clock was set back, by no more than the grace.
  if math.abs(now - at) < ARGV[4] * 1000 then return {'repeated', kept, data, salt} end
end
-- First what the server refuses when it is out of memory.
redis.call('HSET', KEYS[1], 'ended', ARGV[3])
redis.call('HDEL', KEYS[1], 'current', 'last', 'salt', 'at', 'until')
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(tonumber(ARGV[6]), left)))
return {'reused', 0, data}
