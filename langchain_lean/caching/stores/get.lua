-- The value of a key, which is used by that. What is left of an item that has ended, or
-- of which the server evicted a part, is removed.
--
-- KEYS  answers, vectors, used, ends, tags, tagged
-- ARGV  now, or '' for the server's time; key
-- Returns the value, or nothing

local key = ARGV[2]
local answer, start = answer_of(key, now_from(ARGV[1]))
if not answer then
  forget(key)
  return false
end
use(key)
return string.sub(answer, start)
