# sqlite3: locks between processes, a write-ahead log in shared memory, a rollback after a kill.
# needs: sqlite3 flock

set -e
sqlite3 a.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(x INTEGER PRIMARY KEY, y TEXT);'
for writer in 1 2 3 4; do
    (
        i=0
        while [ $i -lt 15 ]; do
            sqlite3 -cmd '.timeout 60000' a.db "BEGIN IMMEDIATE; INSERT INTO t(y) VALUES('$writer-$i'); COMMIT;"
            i=$((i + 1))
        done
    ) &
done
wait
sqlite3 a.db 'SELECT count(*), count(DISTINCT y) FROM t; PRAGMA integrity_check;'
sqlite3 a.db "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO t(y) SELECT hex(i * 7919) FROM n; SELECT count(*), sum(length(y)) FROM t;"
sqlite3 a.db 'CREATE INDEX j ON t(y); VACUUM; PRAGMA page_count; PRAGMA wal_checkpoint(TRUNCATE);'
# Killed in the middle of a transaction: the next one finds the state before it.
mkfifo pipe
sqlite3 a.db < pipe > out &
writer=$!
exec 3> pipe
echo "PRAGMA journal_mode=DELETE; BEGIN; DELETE FROM t; SELECT 'deleted';" >&3
until grep -q deleted out; do sleep 0.01; done
kill -9 $writer
exec 3>&-
wait $writer || echo "status $?"
sqlite3 a.db 'SELECT count(*) FROM t; PRAGMA integrity_check; PRAGMA journal_mode;'
# Who came first has the lower numbers.
sqlite3 a.db 'SELECT y FROM t ORDER BY y' | sha256sum
ls
