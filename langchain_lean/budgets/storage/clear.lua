-- Lets a counter begin anew and forgets its leases.
--
-- KEYS  counter, leases
-- Returns nothing

redis.call('DEL', KEYS[1], KEYS[2])
return ''
