-- Gives permits back to every tier of a rate limit, to at most its burst.
--
-- KEYS     1  the subject: a hash, one field a tier, its value the theoretical arrival time "micros:rest"
-- ARGV     1  how many permits
--          2… for each tier: its field, numerator and denominator of the time for one permit in µs, and its burst
-- Replies  the time in µs
--
-- Atomic: nothing runs between reading and giving back. The arithmetic is that of stanchion::limit::Gcra. The
-- key keeps its expiry, since no tier is full later than before; a tier that is full needs no field.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost = tonumber(ARGV[1])

local tiers = {}
for i = 2, #ARGV, 4 do
  local stored = redis.call('HGET', KEYS[1], ARGV[i])
  if stored then
    local arrival, rest = string.match(stored, '^(%d+):(%d+)$')
    if not arrival or #arrival > 16 or #rest > 16 then
      return redis.error_reply('WRONGTYPE The key holds no rate limit')
    end
    local each, denominator = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
    local ahead = arrival - now
    local used = 0
    if ahead >= 0 then
      used = math.min(ahead * denominator + rest, each * ARGV[i + 3])
      used = math.max(used - each * cost, 0)
    end
    tiers[#tiers + 1] = {field = ARGV[i], used = used, denominator = denominator}
  end
end

for _, tier in ipairs(tiers) do
  if tier.used == 0 then
    redis.call('HDEL', KEYS[1], tier.field)
  else
    local rest = math.fmod(tier.used, tier.denominator)
    local arrival = now + (tier.used - rest) / tier.denominator
    redis.call('HSET', KEYS[1], tier.field, string.format('%.0f:%.0f', arrival, rest))
  end
end
return now
