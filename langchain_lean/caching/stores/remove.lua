-- Removes an item.
--
-- KEYS  answers, vectors, used, ends, tags, tagged
-- ARGV  key
-- Returns nothing

forget(ARGV[1])
return false
