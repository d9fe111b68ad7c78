# shellcheck shell=bash
# Sourced by the other scripts: makes sure that a virtual environment exists, that the package is installed in it, and
# that headless rendering works. Takes no time if nothing is missing. Reads PYTHON (interpreter that creates the
# environment) and TORCH_INDEX_URL (package index to install torch from, for example PyTorch's CPU index).
#
#   ensure_default [EXTRAS]      .venv: MuJoCo and everything else
#   ensure_libero [EXTRAS]       .venv-libero: LIBERO, which needs an older MuJoCo
#   ensure_simpler [EXTRAS]      .venv-simpler: SAPIEN, and Mesa's lavapipe where there is no GPU
#   ensure_isaaclab [EXTRAS]     .venv-isaaclab: Isaac Lab, which pins its Python and its torch; isaaclab-physx among
#                                EXTRAS brings PhysX
#   ensure_lerobot [EXTRAS]      .venv-lerobot: LeRobot, which pins its Python and its torch
#   ensure_lerobot_libero        .venv-lerobot-libero: LeRobot and LIBERO together
#
# Each sets VENV to the environment's folder; EXTRAS are further extras of the package, separated by commas.

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 2
}

# find_python VERSIONS: prints an interpreter of one of these versions, such as "3.11 3.12", that can create environments.
find_python() {
    local versions=$1 candidate candidates=(python3) version
    for version in $versions; do
        candidates+=("python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python)
    done
    if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        if [[ " $versions " == *" $("$candidate" -c 'import sys, venv, ensurepip
print("%d.%d" % sys.version_info[:2])' 2>/dev/null) "* ]]; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

pip_install() { "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "$@"; }

install_torch() {
    "$VENV/bin/python" -c 'import torch' 2>/dev/null && return
    # A local wheel (PIP_FIND_LINKS or pip.conf) saves the download; its dependencies are installed with the package.
    pip_install --no-index --no-deps 'torch>=2.10' 2>/dev/null && return
    if [ -n "${TORCH_INDEX_URL:-}" ]; then
        pip_install --index-url "$TORCH_INDEX_URL" 'torch>=2.10' ||
            fail "torch could not be installed from TORCH_INDEX_URL"
        return
    fi
    if [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null; then
        say "No NVIDIA GPU was found, yet PyPI's torch brings several GB of CUDA libraries."
        say "To avoid the download, stop now and set TORCH_INDEX_URL to PyTorch's CPU index (see pytorch.org)."
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

# ensure_environment NAME EXTRAS VERSIONS PREPARE: creates $ROOT/NAME with an interpreter of one of VERSIONS and installs
# the package with EXTRAS (separated by commas, may be empty) into it. The command PREPARE runs before the installation:
# it installs packages that must come first, and tells the user which steps take long.
ensure_environment() {
    local name=$1 extras=$2 versions=$3 prepare=$4 python stamp state
    VENV=$ROOT/$name
    stamp=$VENV/.installed
    # The stamp includes the checkout's path, because a virtual environment breaks when it is moved.
    state="$(cksum <"$ROOT/pyproject.toml") $ROOT"
    has_extras "$extras" && return
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python "$versions") ||
            fail "$name needs Python ${versions// / or } with venv; install one or set PYTHON to its path"
        say "Creating $name with $("$python" --version) ..."
        "$python" -m venv --clear "$VENV" || fail "the virtual environment $VENV could not be created"
    fi
    "$prepare"
    pip_install -e "$ROOT${extras:+[$extras]}" || fail "the package could not be installed into $name"
    ensure_gl
    each_extra "$extras" >>"$stamp"
}

# Prints the stamp's lines for an environment: a line for the package and a line for each extra.
each_extra() {
    local extra
    for extra in "" ${1//,/ }; do printf '[%s] %s\n' "$extra" "$state"; done
}

has_extras() {
    local line
    while IFS= read -r line; do
        grep -qxF "$line" "$stamp" 2>/dev/null || return
    done < <(each_extra "$1")
}

prepare_default() {
    say "Installing headless-eval and its dependencies (once, about a minute) ..."
    install_torch
}

prepare_isaaclab() {
    "$VENV/bin/python" -c 'import isaaclab' 2>/dev/null ||
        say "Installing Isaac Lab into .venv-isaaclab (once: downloads about 3 GB, takes 8 GB of disk and some minutes) ..."
    case ",$extras," in *,isaaclab-physx,*) announce_physx ;; esac
}

announce_physx() {
    "$VENV/bin/python" -c 'import importlib.util as u, sys
sys.exit(any(u.find_spec(name) is None for name in ("ovphysx", "ovstage")))' && return
    say "Installing PhysX (ovphysx and ovstage, 200 MB to download) into .venv-isaaclab. They are NVIDIA's, not open source:"
    say "by downloading or using them you agree to the NVIDIA Omniverse licence (its text is in the packages)."
    say "To do without, stop now and leave out PHYSICS=physx."
}

# LIBERO's own requirements include robomimic, wandb and a torch with CUDA. An evaluation does not need them.
prepare_libero() {
    install_torch
    "$VENV/bin/python" -c 'import importlib.metadata as m, sys
sys.exit(any(m.version(n) != v for n, v in (("hf-libero", "0.1.4"), ("robosuite", "1.4.0"), ("bddl", "1.0.1"))))' 2>/dev/null &&
        return
    say "Installing LIBERO into .venv-libero (once, about a minute) ..."
    pip_install --no-deps hf-libero==0.1.4 robosuite==1.4.0 bddl==1.0.1 || fail "LIBERO could not be installed"
}

# LeRobot's own requirements choose the torch, lest two be downloaded; a CPU index makes the download ten times smaller.
prepare_lerobot() {
    "$VENV/bin/python" -c 'import lerobot' 2>/dev/null && return
    say "Installing LeRobot into $name (once: downloads about 3 GB, takes 6 GB of disk and some minutes) ..."
    [ -z "${TORCH_INDEX_URL:-}" ] || pip_install --index-url "$TORCH_INDEX_URL" 'torch>=2.10,<2.12' 'torchvision<0.27' ||
        fail "torch could not be installed from TORCH_INDEX_URL"
}

prepare_lerobot_libero() {
    prepare_lerobot
    pip_install --no-deps hf-libero==0.1.4 robosuite==1.4.0 bddl==1.0.1 || fail "LIBERO could not be installed"
}

prepare_simpler() {
    install_torch
    "$VENV/bin/python" -c 'import sapien, ruckig' 2>/dev/null ||
        say "Installing SAPIEN into .venv-simpler (once, about a minute) ..."
}

# Whether SAPIEN finds a Vulkan device that it can draw with.
can_draw() {
    (cd "$ROOT" && "$VENV/bin/python" -c 'from headless_eval.sims.simpler.vulkan import load_sapien
load_sapien()') >/dev/null 2>&1
}

# Debian 12's own lavapipe is too old for SAPIEN. That of its backports is unpacked into the environment, where
# sims/simpler/vulkan.py looks for it: installed, it would replace the Mesa that MuJoCo draws with.
unpack_lavapipe() {
    local folder=$VENV/vulkan work options
    work=$(mktemp -d)
    mkdir -p "$work/lists/partial" "$work/content"
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u |
        awk '$2 == "bookworm" { print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $1, $2 "-backports main" }' \
            >"$work/sources.list"
    options=(-qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists"
        -o APT::Sandbox::User=)
    (
        cd "$work" && apt-get "${options[@]}" update && apt-get "${options[@]}" download mesa-vulkan-drivers &&
            dpkg-deb -x mesa-vulkan-drivers_*.deb content
    ) >/dev/null 2>&1 || return
    mkdir -p "$folder"
    find "$work/content" -name libvulkan_lvp.so -exec cp {} "$folder" \;
    rm -r "$work"
    printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.4.305"}}\n' \
        "$folder/libvulkan_lvp.so" >"$folder/lvp_icd.json"
}

ensure_vulkan() {
    local help="install a GPU's driver, or Mesa's lavapipe 23 or newer (mesa-vulkan-drivers), or name a driver file in VK_ICD_FILENAMES"
    can_draw && return
    if command -v apt-get >/dev/null; then
        say "Setting up a Vulkan device that draws on the CPU (Mesa's lavapipe) ..."
        if grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release; then
            unpack_lavapipe || say "Debian's backports could not be reached for mesa-vulkan-drivers."
            # What it links to.
            install_packages libvulkan1 libllvm15 libdrm2 libexpat1 libzstd1 libwayland-client0 libx11-xcb1 libxcb-dri3-0 \
                libxcb-present0 libxcb-randr0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 libxshmfence1
        else
            install_packages libvulkan1 mesa-vulkan-drivers
        fi
    fi
    can_draw || fail "no Vulkan device that SAPIEN can draw with: $help"
}

# Installs Debian packages that are missing, as root.
install_packages() {
    if [ "$(id -u)" != 0 ]; then
        can_draw || fail "no Vulkan device that SAPIEN can draw with yet: sudo apt-get install $*"
        return
    fi
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends --no-upgrade "$@"; } >/dev/null 2>&1 ||
        say "These packages could not be installed: $*"
}

ensure_default() { ensure_environment .venv "${1:-}" "3.12 3.11 3.13" prepare_default; }
ensure_isaaclab() { ensure_environment .venv-isaaclab "isaaclab${1:+,$1}" 3.12 prepare_isaaclab; }
ensure_simpler() {
    ensure_environment .venv-simpler "simpler${1:+,$1}" "3.11 3.12 3.13" prepare_simpler
    ensure_vulkan
}
ensure_lerobot() { ensure_environment .venv-lerobot "lerobot${1:+,$1}" 3.12 prepare_lerobot; }
ensure_lerobot_libero() {
    PIP_NO_WARN_CONFLICTS=0 ensure_environment .venv-lerobot-libero lerobot,libero 3.12 prepare_lerobot_libero
}
ensure_libero() {
    # Some of LIBERO's requirements are left out on purpose, so pip must not warn about them. (0 silences the warning.)
    PIP_NO_WARN_CONFLICTS=0 ensure_environment .venv-libero "libero${1:+,$1}" "3.11 3.12 3.13" prepare_libero
}
