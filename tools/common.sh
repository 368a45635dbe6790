# Sourced by tools/check and tools/soak: steps with their times, and what the machine must have.

export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
require_all="${CELLSEGD_REQUIRE_ALL:-0}"
venv=.venv
ptx_tools=target/ptx-tools
current=start
trap 'status=$?; [ $status -eq 0 ] || echo "FAILED in step \"$current\" (exit $status)" >&2' EXIT

# step NAME COMMAND...: says what runs and how long it took; the script ends at the first that fails.
step() {
    current=$1
    shift
    local began=$SECONDS
    echo "== $current"
    "$@"
    echo "-- $current: $((SECONDS - began)) s"
}

# What this machine lacks: said, and a failure where the machine is meant to have it.
skipped() {
    echo "skipped: $1"
    if [ "$require_all" = 1 ]; then
        echo "CELLSEGD_REQUIRE_ALL=1: that is a failure here" >&2
        return 1
    fi
}

have() { command -v "$1" >/dev/null 2>&1; }

# Debian's packages, where we may: as root, with apt-get.
apt_install() {
    have apt-get && [ "$(id -u)" = 0 ] || return 1
    apt-get update -qq </dev/null >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

have_compiler() {
    { have cc && have g++; } || apt_install gcc g++ libc6-dev || have cc || {
        echo "a C compiler (cc) is needed to link; install gcc" >&2
        return 1
    }
}

# cargo_tool COMMAND CRATE VERSION: built once, into cargo's own bin folder.
cargo_tool() {
    have "$1" || cargo install --locked --quiet --version "$3" "$2"
}

# The Python that tests are run with: its own environment, made anew when the requirements change.
make_venv() {
    if cmp -s tests/py/requirements.txt "$venv/requirements.txt"; then
        return 0
    fi
    rm -rf "$venv"
    have python3 || apt_install python3 || return 1
    python3 -m venv "$venv" 2>/dev/null || {
        rm -rf "$venv"
        apt_install python3-venv && python3 -m venv "$venv"
    } || return 1
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
        -r tests/py/requirements.txt </dev/null || return 1
    # Last, so that a half-made environment is made again.
    cp tests/py/requirements.txt "$venv/requirements.txt"
}

# NVIDIA's compiler and assemblers, for tools/ptx, in a folder of their own; made anew when their list changes.
make_ptx_tools() {
    if cmp -s tools/ptx-requirements.txt "$ptx_tools/requirements.txt"; then
        return 0
    fi
    rm -rf "$ptx_tools"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps \
        --target "$ptx_tools" -r tools/ptx-requirements.txt </dev/null || return 1
    cp tools/ptx-requirements.txt "$ptx_tools/requirements.txt"
}

ptx() { PYTHONPATH="$ptx_tools" "$venv/bin/python" tools/ptx "$@"; }

# ONNX Runtime's library comes with its Python wheel.
export_onnxruntime() {
    local library
    for library in "$PWD/$venv"/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*; do
        if [ -e "$library" ]; then
            export ORT_DYLIB_PATH="${ORT_DYLIB_PATH:-$library}"
        fi
    done
}

# wheel PACKAGE VERSION FOLDER: a library that comes as a Python package, unpacked under target so that it is fetched once.
wheel() {
    local to="target/wheels/$1-$2"
    [ -d "$to/$3" ] || {
        rm -rf "$to" "$to.part"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps \
            --target "$to.part" "$1==$2" </dev/null && mv "$to.part" "$to"
    }
}

# What manifests are held against: schemas of Kubernetes, models of KServe (23 MB). Neither is imported.
kubernetes_wheels() {
    wheel kubernetes-validate 1.37.0 kubernetes_validate && wheel kserve 0.21.0 kserve
}

# NVIDIA's own libraries, as far as PyPI has them and they do something without a GPU (140 MB).
tensorrt_wheels() {
    wheel tensorrt-rtx-cu13-libs 1.7.1.116 tensorrt_rtx_libs &&
        wheel tensorrt-lean-cu13-libs 11.4.0.106 tensorrt_lean_libs &&
        wheel tensorrt-dispatch-cu13-libs 11.4.0.106 tensorrt_dispatch_libs
}

# axe-core, which looks for what keeps people from using a page, as a Python package carries it (0.6 MB).
axe_wheel() { wheel axe-playwright-python 0.1.8 axe_playwright_python; }
