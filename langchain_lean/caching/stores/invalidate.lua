-- Removes items with a tag, a few at a time.
--
-- KEYS  answers, vectors, used, ends, tags, tagged
-- ARGV  tag; how many items
-- Returns how many were removed; if as many as were asked for, there can be more

local tag = ARGV[1]
local found = redis.call(
  'ZRANGE', tagged, '[' .. tag .. ' ', '(' .. tag .. '!', 'BYLEX', 'LIMIT', 0, ARGV[2]
)
for _, each in ipairs(found) do
  forget(string.sub(each, #tag + 2))
  redis.call('ZREM', tagged, each) -- also where the server evicted the tags of the key
end
return #found
