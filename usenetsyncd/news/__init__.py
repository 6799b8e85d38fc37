"""News servers: connection, pool, reply table, many servers as one."""
