-- Put before each of the other scripts, which use its functions.
--
-- A partition is six keys. An item is in all of them that concern it, or in none:
--   answers  a hash: of each key "t" if it has tags, the time it ends, or nothing, a
--            space, and its value
--   vectors  a vector set: the vector of a key, and its label as a JSON string
--   used     a sorted set: keys by the turn at which they were used last
--   ends     a sorted set: keys by the time they end; only those that do
--   tags     a hash: the tags of a key, with spaces between; only those that have some
--   tagged   a sorted set: "tag key", in alphabetical order
--
-- Times are milliseconds since the epoch, durations milliseconds.

local A_FEW = 4 -- that are removed at a time: each vector takes about a millisecond

local answers, vectors, used, ends, tags, tagged = unpack(KEYS)

-- The time: what was given, or else the server's.
local function now_from(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- What is kept of a key and where its value begins in it, unless it has ended, or has
-- tags that the server evicted: nobody could invalidate it any more.
local function answer_of(key, now)
  local answer = redis.call('HGET', answers, key)
  if not answer then
    return
  end
  local mark, at, start = string.match(answer, '^(t?)(%d*) ()')
  if not mark then
    return answer, 1 -- damaged: whoever reads it will say so
  end
  at = tonumber(at)
  if at and at <= now then
    return
  end
  if mark == 't' and redis.call('EXISTS', tags, tagged) < 2 then
    return
  end
  return answer, start
end

-- Makes a key the one that was used last, unless the server has no memory left.
local function use(key)
  local last = redis.call('ZRANGE', used, -1, -1, 'WITHSCORES')
  if last[1] ~= key then
    redis.pcall('ZADD', used, (last[2] or 0) + 1, key)
  end
end

-- Removes all there is of a key.
local function forget(key)
  local own = redis.call('HGET', tags, key)
  if own then
    for tag in string.gmatch(own, '%S+') do
      redis.call('ZREM', tagged, tag .. ' ' .. key)
    end
    redis.call('HDEL', tags, key)
  end
  redis.call('HDEL', answers, key)
  redis.call('VREM', vectors, key)
  redis.call('ZREM', used, key)
  redis.call('ZREM', ends, key)
end
