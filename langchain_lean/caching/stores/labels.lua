-- The labels of keys whose vectors were found. What is left of items that have ended, or
-- of which the server evicted a part, is removed, a few at a time.
--
-- KEYS  answers, vectors, used, ends, tags, tagged
-- ARGV  now, or '' for the server's time; keys
-- Returns of each key its label as a JSON string, or nothing

local now = now_from(ARGV[1])
local labels, gone = {}, 0

for i = 2, #ARGV do
  local key = ARGV[i]
  if answer_of(key, now) then
    labels[i - 1] = redis.call('VGETATTR', vectors, key)
  else
    gone = gone + 1
    if gone <= A_FEW then
      forget(key)
    end
    labels[i - 1] = false
  end
end
return labels
