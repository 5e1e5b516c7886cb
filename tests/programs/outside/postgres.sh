# A PostgreSQL server of one's own: initdb, pgbench, a crash and its recovery, dump and restore.
# as a user: initdb refuses root
# needs: pg_config

set -e
PATH=$(pg_config --bindir):$PATH
initdb -D data -U me -A trust --no-sync > log 2>&1 || { cat log; exit 1; }
export PGHOST=$PWD PGUSER=me PGDATABASE=postgres
server() { pg_ctl -D data -l server.log -w -t 100 "$@" > /dev/null; }
server start -o "-k $PWD -h '' -c fsync=off"
psql -Atc 'CREATE EXTENSION IF NOT EXISTS plpgsql' 2>&1
pgbench -i -s 1 -q > log 2>&1
pgbench -c 4 -j 2 -t 60 -n 2>&1 | grep -E 'processed|failed|type'
psql -Atc 'SELECT count(*) FROM pgbench_history' -c 'SELECT sum(abalance) = sum(delta) FROM pgbench_accounts, (SELECT sum(delta) AS delta FROM pgbench_history) h GROUP BY h.delta'
psql -Atc "SELECT sum(i) FROM generate_series(1, 200000) i" -c "SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SELECT count(*) FROM pgbench_accounts a JOIN pgbench_accounts b USING (aid)"
pg_dump > dump.sql
createdb copy
psql -q -d copy -f dump.sql > /dev/null
psql -d copy -Atc 'SELECT count(*) FROM pgbench_accounts'
kill -9 "$(head -1 data/postmaster.pid)"
while [ -e .s.PGSQL.5432.lock ] && kill -0 "$(head -1 data/postmaster.pid)" 2>/dev/null; do sleep 0.05; done
# What served the old server ends by itself when it notices.
until server start -o "-k $PWD -h ''" 2>/dev/null; do sleep 0.2; done
psql -Atc 'SELECT count(*) FROM pgbench_history'
server stop -m fast
pg_controldata data | grep state
