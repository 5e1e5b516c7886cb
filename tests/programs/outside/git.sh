# git with 1,500 commits: pack, gc, clone, worktree, bisect, rebase, merge.
# needs: git

set -e
export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
git -c init.defaultBranch=main init -q big
cd big
git config user.name A; git config user.email a@example.org; git config gc.auto 0
# One stream instead of thousands of commands: what is tested is what is done with it.
awk 'BEGIN {
    for (i = 1; i <= 1500; i++) {
        printf "commit refs/heads/main\ncommitter A <a@example.org> %d +0000\ndata 6\nc %04d", 1577836800 + i, i
        printf "\nM 100644 inline d%d/f%d\ndata %d\n%0*d\n\n", i % 40, i % 700, 200 + i % 300, 200 + i % 300, i
    }
}' | git fast-import --quiet
git checkout -q main
git rev-parse HEAD
git count-objects
git status --short | wc -l
git gc -q --prune=now
git fsck --full --strict
git rev-parse HEAD~700
git worktree add -q ../tree HEAD~700
git -C ../tree status --short --branch
find ../tree -type f | wc -l
git clone -q . ../copy
git -C ../copy log --oneline | wc -l
git clone -q --no-local --depth 30 . ../shallow
git -C ../shallow log --oneline | wc -l
git bisect start -q HEAD HEAD~1000 >/dev/null
git bisect run sh -c 'test $(ls d7 | wc -l) -lt 18' | tail -1
git bisect reset -q
git switch -q -c topic HEAD~20
for i in 1 2 3; do echo $i > new$i; git add new$i; git commit -q -m "topic $i"; done
git rebase -q main
git log --oneline -4 --format=%s
git switch -q main
git merge -q --no-ff topic -m merged
git diff HEAD^ --stat | tail -1
git grep -c 0001499 | head -3
rm -r d3; git status --short | wc -l; git restore .; git status --short | wc -l
git ls-files -s | git hash-object --stdin
