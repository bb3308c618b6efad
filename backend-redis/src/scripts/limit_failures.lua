-- In front of the scripts of failed attempts: the time, what is stored, and which sources are forgotten. The arithmetic is that of
-- stanchion::limit::Failures.
--
-- KEYS     1  the failures: a hash. "*" has those of all sources, "@source" those of one, each
--             "failures:since:locked until:lock-outs:forgotten at:known until", times in µs
-- ARGV     1  the most known sources
--          2  the most other sources
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function read(text)
  local record = {}
  for number in string.gmatch(text, '%d+') do record[#record + 1] = tonumber(number) end
  if #record ~= 6 or not string.match(text, '^[%d:]+$') then return nil end
  return {failures = record[1], since = record[2], locked = record[3], lockouts = record[4], forgotten = record[5],
    known = record[6]}
end

local function fresh()
  return {failures = 0, since = 0, locked = 0, lockouts = 0, forgotten = 0, known = 0}
end

local records = {}
local fields = redis.call('HGETALL', KEYS[1]) -- refuses another type
for i = 1, #fields, 2 do
  records[fields[i]] = read(fields[i + 1])
  if not records[fields[i]] then return redis.error_reply('WRONGTYPE The key holds no failed attempts') end
end

local function store(field, record)
  records[field] = record
  redis.call('HSET', KEYS[1], field, string.format('%.0f:%.0f:%.0f:%.0f:%.0f:%.0f', record.failures, record.since,
    record.locked, record.lockouts, record.forgotten, record.known))
end

-- Makes room: the oldest known sources for known ones, and the oldest others for others.
local function forget_sources(but)
  for kind, most in ipairs({tonumber(ARGV[1]), tonumber(ARGV[2])}) do
    local names = {}
    for name, record in pairs(records) do
      if name ~= '*' and (record.known > now) == (kind == 1) then
        names[#names + 1] = name
        record.last = math.max(record.since, record.forgotten, record.known)
      end
    end
    local over = #names - most
    if over > 0 then
      table.sort(names, function(a, b)
        local a_last, b_last = records[a].last, records[b].last
        return a_last < b_last or (a_last == b_last and a < b)
      end)
    end
    for _, name in ipairs(names) do
      if over > 0 and name ~= but then
        redis.call('HDEL', KEYS[1], name)
        records[name] = nil
        over = over - 1
      end
    end
  end
end

local function prolong(millis)
  if redis.call('PTTL', KEYS[1]) < millis then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', millis))
  end
end

