-- How a counter stands.
--
-- KEYS  counter, leases
-- ARGV  now, or '' for the server's time
-- Returns as text: used, held

return counts(book_at(now_from(ARGV[1]), KEYS[1], KEYS[2]))
