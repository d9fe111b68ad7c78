# shellcheck shell=bash
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
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 python3.12 python3.11 python3.13 python; fi
    for candidate; do
        if [ "$("$candidate" -c 'import sys, venv, ensurepip
print((3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null)" = True ]; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

pip_install() { "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "$@"; }

install_torch() {
    "$VENV/bin/python" -c 'import torch' 2>/dev/null && return
    # A wheel at hand (PIP_FIND_LINKS or pip.conf) saves the download; its dependencies follow with the package.
    pip_install --no-index --no-deps 'torch>=2.10' 2>/dev/null && return
    if [ -n "${TORCH_INDEX_URL:-}" ]; then
        pip_install --index-url "$TORCH_INDEX_URL" 'torch>=2.10' ||
            fail "torch could not be installed from TORCH_INDEX_URL"
        return
    fi
    if [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null; then
        say "No NVIDIA GPU was found, yet PyPI's torch brings several GB of CUDA libraries."
        say "To spare the download, stop now and set TORCH_INDEX_URL to PyTorch's CPU index (see pytorch.org)."
    fi
    pip_install 'torch>=2.10' || fail "torch could not be installed; is there a network connection?"
}

has_egl() { "$VENV/bin/python" -c 'import ctypes.util, sys; sys.exit(ctypes.util.find_library("EGL") is None)'; }

ensure_gl() {
    [ "$(uname -s)" = Linux ] && [ "${MUJOCO_GL:-egl}" = egl ] || return 0
    has_egl && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing the EGL library for headless rendering (libegl1, libgl1-mesa-dri) ..."
        { apt-get -qq update && apt-get -qq install -y libegl1 libgl1-mesa-dri; } >/dev/null || true
    fi
    has_egl ||
        fail "no EGL library for headless rendering; on Debian or Ubuntu: sudo apt-get install libegl1 libgl1-mesa-dri"
}

# ensure_environment EXTRAS: EXTRAS is a comma-separated list of the package's extras, may be empty.
ensure_environment() {
    local extras=$1 python stamp state
    VENV=$ROOT/.venv
    stamp=$VENV/.installed
    # Where the checkout lies counts: a virtual environment does not survive being moved.
    state="$(cksum <"$ROOT/pyproject.toml") $ROOT"
    grep -qxF "[$extras] $state" "$stamp" 2>/dev/null && return
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python) ||
            fail "Python 3.11, 3.12 or 3.13 with venv is needed; install one or set PYTHON to its path"
        say "Creating .venv with $("$python" --version) ..."
        "$python" -m venv --clear "$VENV" || fail "the virtual environment $VENV could not be created"
    fi
    say "Installing headless-eval and what it needs (once, about a minute) ..."
    install_torch
    pip_install -e "$ROOT${extras:+[$extras]}" || fail "the package could not be installed"
    ensure_gl
    # Whoever has an extra has the package without it, too.
    printf '%s\n' "[] $state" "[$extras] $state" >>"$stamp"
}
