-- Says what became of an attempt, or lifts lock-outs.
--
-- KEYS     1  the failures, as in limit_failures.lua
-- ARGV     1, 2  as there
--          3  'withdrawn', 'succeeded' or 'unlocked'
--          4  the window in which it was counted, of all sources; 0 if in none
--          5  the same of the source
--          6  the source, or empty
--          7  for how long the source is known, in ms
-- Replies  the time in µs
--
-- Atomic: nothing runs between reading and writing. Only what succeeded makes a key; it lives for as long as the source is known, or
-- as it lived.
local what, known_for = ARGV[3], tonumber(ARGV[7])

if what == 'unlocked' then
  for field, record in pairs(records) do
    if field ~= '*' and record.known > now then
      local unlocked = fresh()
      unlocked.known = record.known
      store(field, unlocked)
    else
      redis.call('HDEL', KEYS[1], field)
    end
  end
  return now
end

-- A lock-out needed each of its failures.
local function take_back(record, since)
  if since == 0 or since ~= record.since or record.failures == 0 then return end
  record.failures = record.failures - 1
  if record.locked > 0 then
    record.locked = 0
    record.lockouts = math.max(record.lockouts - 1, 0)
  end
end

local overall, field = records['*'], '@' .. ARGV[6]
local source = records[field]
if overall then
  take_back(overall, tonumber(ARGV[4]))
  store('*', overall)
end
if what == 'withdrawn' and ARGV[6] ~= '' and source then
  take_back(source, tonumber(ARGV[5]))
  store(field, source)
end
if what == 'succeeded' then
  source = source or fresh()
  take_back(source, tonumber(ARGV[5]))
  source.failures, source.locked = 0, 0
  source.known = math.max(source.known, now + known_for * 1000)
  store(field, source)
  forget_sources(field)
  prolong(known_for)
end
return now
