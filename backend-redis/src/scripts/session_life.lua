-- In front of every script of the sessions: the time, and when a session ends.
--
-- ARGV  1  what the service allows at most, four numbers of ms: idle and absolute time of sessions with the service's
--          timeouts, and of those with their own
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local bounds = {}
for text in string.gmatch(ARGV[1], '%d+') do bounds[#bounds + 1] = tonumber(text) end

local function number(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

-- A whole number without an exponent.
local function decimal(n)
  return string.format('%.0f', n)
end

-- The fields that decide.
local LIFE = {'used', 'idle', 'deadline', 'created', 'every', 'own'}

-- When a session with these values of LIFE ends, when it was last used, and how old that may be before the next use is
-- recorded, all in µs; nil if there is none, false if it can't be read.
local function life(session)
  if not (session[1] or session[2] or session[3]) then return nil end
  local used, idle, deadline, created =
    number(session[1]), number(session[2]), number(session[3]), number(session[4])
  local every = not session[5] and 0 or number(session[5])
  if not (used and idle and deadline and created and every) then return false end
  local bound = session[6] and 2 or 0
  local idle_end = used + (math.min(idle, bounds[bound + 1]) + every) * 1000
  return math.min(idle_end, deadline, created + bounds[bound + 2] * 1000), used, every * 1000
end

-- The values of LIFE among the fields and values of a whole session, and where the last use is among these.
local function life_of(session)
  local at, values = {}, {}
  for i = 1, #session, 2 do at[session[i]] = i + 1 end
  for i, name in ipairs(LIFE) do values[i] = at[name] and session[at[name]] or false end
  return values, at.used
end

-- Lets the key of a session expire when that ends.
local function expire(key, ends)
  redis.call('PEXPIRE', key, decimal(math.ceil((ends - now) / 1000)))
end

local function no_session()
  return redis.error_reply('WRONGTYPE The key holds no session')
end
