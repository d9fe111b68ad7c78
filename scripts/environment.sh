# Sourced by the other scripts: makes sure that .venv exists and holds the package, and that headless
# rendering can work. Quick when nothing is missing. Honours PYTHON (interpreter to build .venv with) and
# TORCH_INDEX_URL (a package index to take torch from, PyTorch's CPU index for example).

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 2
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.13 python}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

install_torch() {
    local pip=("$VENV/bin/python" -m pip install -qq --disable-pip-version-check)
    "$VENV/bin/python" -c 'import torch' 2>/dev/null && return
    # A wheel at hand (PIP_FIND_LINKS or pip.conf) saves the download; its dependencies follow with the package.
    "${pip[@]}" --no-index --no-deps 'torch>=2.10' 2>/dev/null && return
    if [ -n "${TORCH_INDEX_URL:-}" ]; then
        "${pip[@]}" --index-url "$TORCH_INDEX_URL" 'torch>=2.10' || fail "torch could not be installed from TORCH_INDEX_URL"
        return
    fi
    if [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null; then
        say "No NVIDIA GPU was found, yet PyPI's torch brings several GB of CUDA libraries."
        say "To spare the download, stop now and set TORCH_INDEX_URL to PyTorch's CPU index (see pytorch.org)."
    fi
    "${pip[@]}" 'torch>=2.10' || fail "torch could not be installed; is there a network connection?"
}

ensure_gl() {
    [ "$(uname -s)" = Linux ] || return 0
    ldconfig -p 2>/dev/null | grep -q 'libEGL\.so' && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing the EGL library for headless rendering (libegl1, libgl1-mesa-dri) ..."
        { apt-get -qq update && apt-get -qq install -y libegl1 libgl1-mesa-dri; } >/dev/null || true
    fi
    ldconfig -p 2>/dev/null | grep -q 'libEGL\.so' ||
        fail "no EGL library for headless rendering; on Debian or Ubuntu: sudo apt-get install libegl1 libgl1-mesa-dri"
}

# ensure_environment EXTRAS: EXTRAS is a comma-separated list of the package's extras, may be empty.
ensure_environment() {
    local extras=$1 python stamp wanted
    VENV=$ROOT/.venv
    stamp=$VENV/.installed
    if [ ! -x "$VENV/bin/python" ]; then
        python=$(find_python) ||
            fail "Python 3.11, 3.12 or 3.13 with venv is needed; install one or set PYTHON to its path"
        say "Creating .venv with $("$python" --version) ..."
        "$python" -m venv "$VENV" || fail "the virtual environment $VENV could not be created"
    fi
    wanted=$(cksum <"$ROOT/pyproject.toml")
    if ! grep -qxF "$extras $wanted" "$stamp" 2>/dev/null; then
        say "Installing headless-eval and what it needs (once, about a minute) ..."
        install_torch
        "$VENV/bin/python" -m pip install -qq --disable-pip-version-check -e "$ROOT${extras:+[$extras]}" ||
            fail "the package could not be installed"
        # Whoever has an extra has the package without it, too.
        { [ -n "$extras" ] && printf ' %s\n' "$wanted"; printf '%s\n' "$extras $wanted"; } >>"$stamp"
    fi
    ensure_gl
}
