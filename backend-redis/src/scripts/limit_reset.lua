-- Forgets what a subject has used, and what was added for it.
--
-- KEYS     1  the subject: a hash
-- ARGV     none
-- Replies  how many keys there were
--
-- Atomic: one command; a script, so that it is routed and repeated as the others are.
return redis.call('DEL', KEYS[1])
