-- Takes permits from every tier of a subject or from none, takes as many as there are, or gives some back.
--
-- KEYS     1  the subject: a hash. A tier's field is limit/period/burst, its value the theoretical arrival time
--             "micros:rest"; a quota's field is unit and offset, its value "window:used"; "+" has added permits,
--             "permits:until"
-- ARGV     1  'take', 'up_to' or 'refund'
--          2  how many permits; taking 0 changes nothing
--          3… for each tier: its field, numerator and denominator of the time for one permit in µs, and its burst;
--             for each quota: its field, 'day', 'week' or 'month', the minutes that clocks there show more than UTC, its limit
-- Replies  {time in µs, permits taken (of 'take': 1 if allowed or 0), retry after, index of the tier to wait for or -1,
--          and for each tier: remaining, next in, full in}, in µs rounded up
--
-- Atomic: nothing runs between reading and taking. The arithmetic is that of stanchion::limit::Usage, in
-- fractions of 1/denominator µs: whole numbers below 2^53, which a tier keeps to by its making. An arrival that is
-- further ahead than the burst takes was stored before the server's clock was set back: it is brought back to that,
-- also where the permits are denied. A tier that has no state starts from those of its period, and those that are not
-- named count along.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local mode, cost = ARGV[1], tonumber(ARGV[2])
local MAX_STATES = 24

local function divided(fractions, denominator)
  local rest = math.fmod(fractions, denominator)
  return (fractions - rest) / denominator, rest
end

local function micros(fractions, denominator)
  local whole, rest = divided(fractions, denominator)
  if rest > 0 then whole = whole + 1 end
  return whole
end

-- a * b / c rounded up, of whole numbers below 2^42 and a < c, ten bits at a time: no number reaches 2^53.
local function scaled(a, b, c)
  local quotient, rest = 0, 0
  for bits = 40, 0, -10 do
    local chunk = math.fmod(math.floor(b / 2 ^ bits), 1024)
    local whole
    whole, rest = divided(rest * 1024 + a * chunk, c)
    quotient = quotient * 1024 + whole
  end
  if rest > 0 then quotient = quotient + 1 end
  return quotient
end

-- The first day of a month since the epoch: years begin in March, and 400 of them have 146,097 days.
local function first_of(year, month)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5)
  return era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
end

-- The window of a quota, in µs.
local function window(unit, minutes)
  local offset = minutes * 60
  local day = math.floor((time[1] + offset) / 86400)
  local first, next = day, day + 1
  if unit == 'week' then
    first = day - (day + 3) % 7
    next = first + 7
  elseif unit == 'month' then
    local shifted = day + 719468
    local era = math.floor(shifted / 146097)
    local of_era = shifted - era * 146097
    local year_of_era = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524)
      - math.floor(of_era / 146096)) / 365)
    local of_year = of_era - (365 * year_of_era + math.floor(year_of_era / 4) - math.floor(year_of_era / 100))
    local month = math.floor((5 * of_year + 2) / 153)
    month = month < 10 and month + 3 or month - 9
    local year = year_of_era + era * 400
    if month <= 2 then year = year + 1 end
    first = first_of(year, month)
    next = month == 12 and first_of(year + 1, 1) or first_of(year, month + 1)
  end
  return math.max(first * 86400 - offset, 0) * 1000000, (next * 86400 - offset) * 1000000
end

local function quota(field, unit, minutes, limit)
  local tier = {field = field, quota = true, each = 1, burst = limit, capacity = limit, used = 0}
  tier.start, tier.ends = window(unit, minutes)
  return tier
end

local function rate(field, each, denominator, burst)
  return {field = field, each = each, denominator = denominator, burst = burst, capacity = each * burst, used = 0,
    period = string.match(field, '^%d+/(%d+)/')}
end

local function read(tier, first, second)
  tier.stored = true
  if tier.quota then
    tier.was_ahead = first > tier.start
    if first >= tier.start then tier.used = second end
    return
  end
  local ahead = first - now
  if ahead >= 0 then
    tier.used = ahead * tier.denominator + second
    tier.was_ahead = tier.used > tier.capacity
    tier.used = math.min(tier.used, tier.capacity)
  end
end

local tiers, named = {}, {}
for i = 3, #ARGV, 4 do
  local each = tonumber(ARGV[i + 1])
  local tier
  if each then
    tier = rate(ARGV[i], each, tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]))
  else
    tier = quota(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]))
  end
  tiers[#tiers + 1], named[tier.field] = tier, tier
end

local others, extra, extra_until = {}, 0, 0
local states = redis.call('HGETALL', KEYS[1])
for i = 1, #states, 2 do
  local field = states[i]
  local first, second = string.match(states[i + 1], '^(%d+):(%d+)$')
  if not first or #first > 16 or #second > 16 then
    return redis.error_reply('WRONGTYPE The key holds no rate limit')
  end
  first, second = tonumber(first), tonumber(second)
  if field == '+' then
    if second > now then extra = first end
    extra_until = second
  elseif named[field] then
    read(named[field], first, second)
  else
    local limit, period, burst = string.match(field, '^(%d+)/(%d+)/(%d+)$')
    local unit, minutes = string.match(field, '^(%a+)([+-]%d+)$')
    local tier
    if limit then
      limit, period, burst = tonumber(limit), tonumber(period), tonumber(burst)
      local a, b = period, limit
      while b > 0 do a, b = b, math.fmod(a, b) end
      -- Numbers that no tier has are not counted with.
      if math.min(limit, period, burst) > 0 and math.max(limit, burst) <= 1000000 and period <= 2678400000000
        and period / a * burst < 2 ^ 52 then
        tier = rate(field, period / a, limit / a, burst)
      end
    elseif unit then
      tier = quota(field, unit, tonumber(minutes), 0)
    end
    if tier then
      read(tier, first, second)
      others[#others + 1] = tier
    end
  end
end

-- As many permits as were used of another tier.
local function converted(tier, other)
  if other.each == tier.each then return math.min(other.used, tier.capacity) end
  local whole, rest = divided(other.used, other.each)
  if whole >= tier.burst then return tier.capacity end
  return math.min(whole * tier.each + scaled(rest, tier.each, other.each), tier.capacity)
end

local periods = {}
for _, tier in ipairs(tiers) do
  if not tier.quota then
    periods[tier.period] = true
    if not tier.stored then
      for _, list in ipairs({tiers, others}) do
        for _, other in ipairs(list) do
          if other.stored and other.period == tier.period then
            tier.used = math.max(tier.used, converted(tier, other))
          end
        end
      end
    end
  end
end

local function ends_in(tier)
  if tier.quota then return tier.used > 0 and tier.ends - now or 0 end
  return micros(tier.used, tier.denominator)
end

local longest = 0
local function store(tier)
  local value
  if tier.quota then
    value = string.format('%.0f:%.0f', tier.start, tier.used)
  else
    local whole, rest = divided(tier.used, tier.denominator)
    value = string.format('%.0f:%.0f', now + whole, rest)
  end
  redis.call('HSET', KEYS[1], tier.field, value)
  tier.stored = true
  longest = math.max(longest, ends_in(tier))
end

-- What was found and is not stored so.
local function keep(tier)
  if tier.was_ahead or (not tier.stored and tier.used > 0) then store(tier) end
end

local function count_along(permits)
  for _, tier in ipairs(others) do
    if tier.period and periods[tier.period] then
      tier.used = math.max(math.min(tier.used + tier.each * permits, tier.capacity), 0)
      store(tier)
    end
  end
end

-- Forgets what says nothing any more. Before anything is taken: a tier that is full among full ones is as good as none.
local function forget()
  if #others == 0 then return end
  local busy, left = {}, {}
  for _, list in ipairs({tiers, others}) do
    for _, tier in ipairs(list) do
      if tier.period and tier.stored and tier.used > 0 then busy[tier.period] = true end
    end
  end
  for _, tier in ipairs(others) do
    if (tier.quota and tier.used > 0) or (tier.period and busy[tier.period]) then
      left[#left + 1] = tier
    else
      redis.call('HDEL', KEYS[1], tier.field)
    end
  end
  others = left
end

-- Forgets what is too much.
local function bound()
  local count = #others
  for _, tier in ipairs(tiers) do
    if tier.stored then count = count + 1 end
  end
  while count > MAX_STATES and #others > 0 do
    local least
    for index, tier in ipairs(others) do
      tier.permits = divided(tier.used, tier.each)
      local best = others[least]
      if not best or tier.permits < best.permits or (tier.permits == best.permits and tier.field < best.field) then
        least = index
      end
    end
    redis.call('HDEL', KEYS[1], table.remove(others, least).field)
    count = count - 1
  end
end

local granted, wait, waits_for = 0, 0, -1
if mode == 'refund' then
  forget()
  local kept = {}
  for _, tier in ipairs(tiers) do
    -- Also what it starts from, or it would start from that again.
    if tier.stored or tier.used > 0 then kept[#kept + 1] = tier end
    tier.used = math.max(tier.used - tier.each * cost, 0)
  end
  count_along(-cost)
  for _, tier in ipairs(kept) do store(tier) end
  bound()
  local left = extra
  for _, list in ipairs({tiers, others}) do
    for _, tier in ipairs(list) do left = math.max(left, tier.used) end
  end
  if left == 0 then redis.call('DEL', KEYS[1]) end
elseif cost == 0 then
  if mode == 'take' then granted = 1 end
else
  local taken, added = cost, 0
  for index, tier in ipairs(tiers) do
    if mode == 'up_to' then
      taken = math.min(taken, (divided(math.max(tier.capacity - tier.used, 0), tier.each)))
    else
      local excess = tier.used + tier.each * cost - tier.capacity
      if excess > 0 then
        local needed = tier.quota and tier.ends - now or micros(excess, tier.denominator)
        if needed > wait then wait, waits_for = needed, index - 1 end
      end
    end
  end
  if mode == 'up_to' then
    added = math.min(extra, cost - taken)
    granted = taken + added
  elseif waits_for < 0 then
    granted = 1
  elseif extra >= cost then
    taken, added, granted, wait, waits_for = 0, cost, 1, 0, -1
  else
    taken = 0
  end
  if added > 0 then
    if extra > added then
      redis.call('HSET', KEYS[1], '+', string.format('%.0f:%.0f', extra - added, extra_until))
    else
      redis.call('HDEL', KEYS[1], '+')
    end
  end
  if taken > 0 then
    forget()
    for _, tier in ipairs(tiers) do
      tier.used = tier.used + tier.each * taken
      store(tier)
    end
    count_along(taken)
    bound()
  else
    for _, tier in ipairs(tiers) do keep(tier) end
  end
end

-- What is not named keeps its own life. A life of 1 ms may be over for the server when it sets it, where its clock goes on to
-- the next between two looks: it deletes the key then, and what was taken would be forgotten before it is full again.
local life = longest > 0 and math.max(math.ceil(longest / 1000), 2) or 0
if life > 0 and redis.call('PTTL', KEYS[1]) < life then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life))
end

local reply = {now, granted, wait, waits_for}
for _, tier in ipairs(tiers) do
  local remaining = divided(math.max(tier.capacity - tier.used, 0), tier.each)
  local next_in, full_in = 0, ends_in(tier)
  if tier.quota then
    next_in = full_in
  elseif remaining < tier.burst then
    next_in = micros(tier.used - (tier.capacity - (remaining + 1) * tier.each), tier.denominator)
  end
  reply[#reply + 1] = remaining
  reply[#reply + 1] = next_in
  reply[#reply + 1] = full_in
end
return reply
