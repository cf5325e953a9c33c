# shellcheck shell=bash
# What reads the sources without running them: the steps that scripts/check and the suites share. Source it after lib.sh.

c_format() { find bench examples-c tests '(' -name '*.c' -o -name '*.h' -o -name '*.cpp' ')' -print0 | xargs -0 clang-format --dry-run -Werror; }

# The scripts without a suffix are those that people call.
shell_scripts() { find scripts .ci '(' -name '*.sh' -o ! -name '*.*' ')' -type f -print0; }
# SC2317 takes a function for unreachable that is only named: as what a step runs.
shell_lint() { shell_scripts | xargs -0 shellcheck --external-sources --source-path=SCRIPTDIR --exclude=SC2317; }

# What is linked into the library has one of the licences that deny.toml allows.
licences() {
    local allowed bad
    allowed='MIT|Apache-2\.0|BSD-2-Clause|BSD-3-Clause|ISC|Unicode-3\.0|Zlib'
    bad=$(cargo tree --locked --edges normal,build --prefix none --format '{l} <- {p}' | sort -u |
        grep -vE "^\(?($allowed)|(OR|/) ?($allowed) <-" || true)
    cargo tree --locked --edges normal,build --prefix none --format '{p}' | sed 's/ (.*//' | sort -u | wc -l
    [ -z "$bad" ] || printf 'not allowed: %s\n' "$bad"
    [ -z "$bad" ]
}

# deny.toml, where cargo-deny is. Advisories come from the network, so that a default run does not hang on them.
deny() {
    local what=(bans licenses sources)
    [ -z "${OMEMO_FULL:-}" ] || what+=(advisories)
    cargo deny --locked check "${what[@]}"
}

static_steps() {
    step format cargo fmt --check
    step clippy cargo clippy --locked --all-targets -- -D warnings
    step "shell scripts" shell_lint
    step licences licences
    if cargo deny --version >/dev/null 2>&1; then
        step "dependencies by deny.toml" deny
    else
        say "$SUITE: cargo-deny is not installed; deny.toml is not checked here"
    fi
}
