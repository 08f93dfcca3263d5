-- What driftd needs of MySQL 8 or later, or MariaDB 10.11 or later: to read the relations of its
-- pairings, and nothing else. Run it on the primary; a replica receives it.
--
-- Put the password into the file or variable that the configuration names, and here.

CREATE USER 'driftd'@'10.0.%'
    IDENTIFIED BY 'replace this'
    REQUIRE SSL
    -- `limits.concurrency` of the store, and some for looking again after a lost connection.
    WITH MAX_USER_CONNECTIONS 12;

-- One line for each relation that a pairing names. What `information_schema` says of a relation is
-- visible to whoever may read it, so that needs no grant of its own.
GRANT SELECT ON `shop`.`users` TO 'driftd'@'10.0.%';
GRANT SELECT ON `shop`.`orders` TO 'driftd'@'10.0.%';

-- Columns that driftd must not see can be left out: grant the columns that the mapping reads, the
-- primary key among them, instead of the relation.
-- GRANT SELECT (`id`, `email`, `status`, `updated_at`) ON `shop`.`users` TO 'driftd'@'10.0.%';
