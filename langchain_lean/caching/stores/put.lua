-- Keeps an item in place of the one that has its key. Then items that have ended leave,
-- and those used least recently while there are too many, a few at a time.
--
-- KEYS  answers, vectors, used, ends, tags, tagged
-- ARGV  now, or '' for the server's time; how many items are kept; key; value;
--       label, as a JSON string; vector, or ''; milliseconds until it ends, or '';
--       tags, with spaces between, or ''
-- Returns nothing

local MINUTE = 60000

local now, most = now_from(ARGV[1]), tonumber(ARGV[2])
local key, value, label, vector, left, own = unpack(ARGV, 3)

local function keep()
  local at = ''
  if left ~= '' then
    at = string.format('%.0f', now + left)
    redis.call('ZADD', ends, at, key)
  end
  local mark = own == '' and '' or 't'
  redis.call('HSET', answers, key, mark .. at .. ' ' .. value)
  use(key)
  local dimensions = redis.pcall('VDIM', vectors) -- an error where there are none
  if vector ~= '' and (type(dimensions) ~= 'number' or 4 * dimensions == #vector) then
    redis.call('VADD', vectors, 'FP32', vector, key, 'Q8', 'SETATTR', label)
  end
  if own ~= '' then
    redis.call('HSET', tags, key, own)
    for tag in string.gmatch(own, '%S+') do
      redis.call('ZADD', tagged, 0, tag .. ' ' .. key)
    end
  end
end

local function make_room()
  local ended = redis.call('ZRANGE', ends, '-inf', now, 'BYSCORE', 'LIMIT', 0, A_FEW)
  for _, each in ipairs(ended) do
    forget(each)
  end
  for _ = 1, A_FEW do
    local count, known = redis.call('HLEN', answers), redis.call('ZCARD', used)
    if math.max(count, known) <= most then
      return
    end
    if known < count then -- the server evicted what was known
      forget(redis.call('HRANDFIELD', answers))
    else
      forget(redis.call('ZRANGE', used, 0, 0)[1])
    end
  end
end

-- Where all items end, the partition does, a minute after the last.
local function expire()
  local last = redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')[2]
  local all_end = redis.call('ZCARD', ends) == redis.call('HLEN', answers)
  for _, name in ipairs(KEYS) do
    if last and all_end then
      redis.call('PEXPIRE', name, last - now + MINUTE)
    else
      redis.call('PERSIST', name)
    end
  end
end

forget(key)
keep()
make_room()
expire()
return false
