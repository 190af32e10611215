-- Keeps lessons; the newest stay.
--
-- KEYS  lessons
-- ARGV  how many stay; lessons
-- Returns nothing

for i = 2, #ARGV do
  redis.call('RPUSH', KEYS[1], ARGV[i])
end
redis.call('LTRIM', KEYS[1], -ARGV[1], -1)
return false
