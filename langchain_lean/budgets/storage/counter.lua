-- Put before each of the other scripts, which use its functions.
--
-- A counter is two keys:
--   counter  text of four numbers: used, held, ends (when it begins anew) and due
--            (before this time no lease ends and none is forgotten)
--   leases   a sorted set: "amount:floor:id" by the time a lease ends, and of one that
--            ended unsettled "late:amount:floor:id" by the time it is forgotten; "-" at
--            NEVER keeps the set, and so its time to live, while no lease is open
--
-- Times are milliseconds since the epoch, durations milliseconds, all integers.
-- Amounts are integers up to 2^53 - 1, which Lua's numbers hold exactly and '%d' writes
-- exactly; `tostring` and `..` do so up to 14 digits, enough for times. `used` can grow
-- beyond both and stays text.

local MOST = 2 ^ 53 - 1
local NEVER = 99999999999999 -- in the year 5138

-- The time: what was given, or else the server's.
local function now_from(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Used and held, as the scripts return them.
local function counts(book)
  return book.used .. string.format(' %d', book.held)
end

-- Writes a counter, with the options of SET; returns its counts.
local function save(book, ...)
  local text = counts(book)
  redis.call('SET', book.counter, text .. ' ' .. book.ends .. ' ' .. book.due, ...)
  return text
end

-- Adds to what was used, exactly: beyond 2^53 in two parts.
local function charge(book, amount)
  local sum = book.used + amount
  if sum <= MOST then
    book.used = string.format('%d', sum)
    return
  end
  local high, low = string.match(book.used, '^(%d-)(%d?%d?%d?%d?%d?%d?%d?%d?%d?)$')
  low = low + amount % 1e9
  high = (tonumber(high) or 0) + math.floor(amount / 1e9) + math.floor(low / 1e9)
  book.used = string.format('%d%09d', high, low % 1e9)
end

-- Charges the floors of the leases that have ended, and forgets late ones in time.
local function end_leases(book, now)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', book.leases, '-inf', now)) do
    local amount, floor = string.match(member, '^(%d+):(%d+):')
    if amount then
      book.held = book.held - amount
      charge(book, tonumber(floor))
      redis.call('ZADD', book.leases, now + LATE, 'late:' .. member)
    end
  end
  redis.call('ZREMRANGEBYSCORE', book.leases, '-inf', now)
  local first = redis.call('ZRANGE', book.leases, 0, 0, 'WITHSCORES')
  book.due = tonumber(first[2] or NEVER)
  save(book, 'KEEPTTL')
end

-- A counter without what has ended by now.
local function book_at(now, counter, leases)
  local book = { counter = counter, leases = leases }
  local text = redis.call('GET', counter)
  if text then
    local used, held, ends, due = string.match(text, '(%d+) (%d+) (%d+) (%d+)')
    book.used, book.held = used, tonumber(held)
    book.ends, book.due = tonumber(ends), tonumber(due)
  end
  if not text or (book.ends <= now and book.ends ~= NEVER) then
    redis.call('DEL', counter, leases)
    book.used, book.held, book.ends, book.due = '0', 0, 0, NEVER
  elseif book.due <= now then
    end_leases(book, now)
  end
  return book
end
