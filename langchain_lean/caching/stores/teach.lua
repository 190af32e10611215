-- Keeps lessons; the newest stay, until none has come for 30 days.
--
-- KEYS  lessons
-- ARGV  how many stay; lessons
-- Returns nothing

for i = 2, #ARGV do
  redis.call('RPUSH', KEYS[1], ARGV[i])
end
redis.call('LTRIM', KEYS[1], -ARGV[1], -1)
redis.call('EXPIRE', KEYS[1], 2592000) -- 30 days
return false
