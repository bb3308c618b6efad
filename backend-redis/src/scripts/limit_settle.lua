-- Says what became of an attempt, or lifts lock-outs.
--
-- KEYS     1  the failures: a hash, as in limit_attempt.lua
-- ARGV     1  'withdrawn', 'succeeded' or 'unlocked'
--          2  the window in which it was counted, of all sources; 0 if in none
--          3  the same of the source
--          4  the source, or empty
--          5  for how long the source is known, in ms
--          6  the most sources
-- Replies  the time in µs
--
-- Atomic: nothing runs between reading and writing. The arithmetic is that of stanchion::limit::Failures. Only what succeeded
-- makes a key; it lives for as long as the source is known, or as it lived.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local what, known_for = ARGV[1], tonumber(ARGV[5])

local function read(text)
  local record = {}
  for number in string.gmatch(text, '%d+') do record[#record + 1] = tonumber(number) end
  if #record ~= 6 or not string.match(text, '^[%d:]+$') then return nil end
  return {failures = record[1], since = record[2], locked = record[3], lockouts = record[4], forgotten = record[5],
    known = record[6]}
end

local function store(field, record)
  redis.call('HSET', KEYS[1], field, string.format('%.0f:%.0f:%.0f:%.0f:%.0f:%.0f', record.failures, record.since,
    record.locked, record.lockouts, record.forgotten, record.known))
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

local records, sources = {}, 0
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  records[fields[i]] = read(fields[i + 1])
  if not records[fields[i]] then return redis.error_reply('WRONGTYPE The key holds no failed attempts') end
  if fields[i] ~= '*' then sources = sources + 1 end
end

if what == 'unlocked' then
  for field, record in pairs(records) do
    if field ~= '*' and record.known > now then
      store(field, {failures = 0, since = 0, locked = 0, lockouts = 0, forgotten = 0, known = record.known})
    else
      redis.call('HDEL', KEYS[1], field)
    end
  end
  return now
end

local overall, field = records['*'], '@' .. ARGV[4]
local source = records[field]
if overall then
  take_back(overall, tonumber(ARGV[2]))
  store('*', overall)
end
if ARGV[4] ~= '' and what == 'withdrawn' and source then
  take_back(source, tonumber(ARGV[3]))
  store(field, source)
end
if what == 'succeeded' then
  if not source then
    source = {failures = 0, since = 0, locked = 0, lockouts = 0, forgotten = 0, known = 0}
    sources = sources + 1
  end
  take_back(source, tonumber(ARGV[3]))
  source.failures, source.locked = 0, 0
  source.known = math.max(source.known, now + known_for * 1000)
  store(field, source)
  while sources > tonumber(ARGV[6]) do
    local least, least_known, least_last
    for name, record in pairs(records) do
      if name ~= '*' and name ~= field then
        local is_known, last = record.known > now, math.max(record.since, record.forgotten, record.known)
        if not least or (is_known ~= least_known and least_known)
          or (is_known == least_known and (last < least_last or (last == least_last and name < least))) then
          least, least_known, least_last = name, is_known, last
        end
      end
    end
    redis.call('HDEL', KEYS[1], least)
    records[least] = nil
    sources = sources - 1
  end
  if redis.call('PTTL', KEYS[1]) < known_for then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', known_for))
  end
end
return now
