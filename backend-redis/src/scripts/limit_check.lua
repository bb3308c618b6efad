-- Takes permits from every tier of a rate limit, or from none.
--
-- KEYS     1  the subject: a hash, one field a tier, its value the theoretical arrival time "micros:rest"
-- ARGV     1  how many permits; 0 takes nothing
--          2… for each tier: its field, numerator and denominator of the time for one permit in µs, and its burst
-- Replies  {time in µs, 1 if allowed or 0, retry after, index of the tier to wait for or -1,
--          and for each tier: remaining, next in, full in}, in µs rounded up
--
-- Atomic: nothing runs between reading and taking. The arithmetic is that of stanchion::limit::Gcra, in
-- fractions of 1/denominator µs: whole numbers below 2^53, which a tier keeps to by its making. An arrival that is
-- further ahead than the burst takes was stored before the server's clock was set back: it is brought back to that,
-- also where the permits are denied.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost = tonumber(ARGV[1])

local function divided(fractions, denominator)
  local rest = math.fmod(fractions, denominator)
  return (fractions - rest) / denominator, rest
end

local function micros(fractions, denominator)
  local whole, rest = divided(fractions, denominator)
  if rest > 0 then whole = whole + 1 end
  return whole
end

local tiers = {}
local wait, waits_for = 0, -1
for i = 2, #ARGV, 4 do
  local tier = {field = ARGV[i], denominator = tonumber(ARGV[i + 2]), burst = tonumber(ARGV[i + 3]), used = 0}
  tier.each = tonumber(ARGV[i + 1])
  tier.capacity = tier.each * tier.burst
  local stored = redis.call('HGET', KEYS[1], tier.field)
  if stored then
    local arrival, rest = string.match(stored, '^(%d+):(%d+)$')
    if not arrival or #arrival > 16 or #rest > 16 then
      return redis.error_reply('WRONGTYPE The key holds no rate limit')
    end
    local ahead = arrival - now
    if ahead >= 0 then
      tier.used = ahead * tier.denominator + rest
      tier.too_far = tier.used > tier.capacity
      tier.used = math.min(tier.used, tier.capacity)
    end
  end
  local excess = tier.used + tier.each * cost - tier.capacity
  if cost > 0 and excess > 0 then
    local needed = micros(excess, tier.denominator)
    if needed > wait then wait, waits_for = needed, #tiers end
  end
  tiers[#tiers + 1] = tier
end

local function store(tier)
  local whole, rest = divided(tier.used, tier.denominator)
  redis.call('HSET', KEYS[1], tier.field, string.format('%.0f:%.0f', now + whole, rest))
end

local allowed = waits_for < 0
if allowed and cost > 0 then
  local longest = 0
  for _, tier in ipairs(tiers) do
    tier.used = tier.used + tier.each * cost
    store(tier)
    longest = math.max(longest, micros(tier.used, tier.denominator))
  end
  -- Other tiers of the same subject keep their own life.
  local life = math.ceil(longest / 1000)
  if redis.call('PTTL', KEYS[1]) < life then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life))
  end
elseif cost > 0 then
  -- The key keeps its expiry, which is no sooner.
  for _, tier in ipairs(tiers) do
    if tier.too_far then store(tier) end
  end
end

local reply = {now, allowed and 1 or 0, wait, waits_for}
for _, tier in ipairs(tiers) do
  local remaining = divided(math.max(tier.capacity - tier.used, 0), tier.each)
  local next_in = 0
  if remaining < tier.burst then
    next_in = micros(tier.used - (tier.capacity - (remaining + 1) * tier.each), tier.denominator)
  end
  reply[#reply + 1] = remaining
  reply[#reply + 1] = next_in
  reply[#reply + 1] = micros(tier.used, tier.denominator)
end
return reply
